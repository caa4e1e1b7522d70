import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { loadSecrets, secretSettings } from '../../../lib/lambda/secrets.ts'

/** A parameter store with these parameters; `refuses`: answers 400. */
const startStore = async (parameters: Readonly<Record<string, string>>, refuses = false) => {
  const asked: string[][] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const { Names } = JSON.parse(body) as { Names: string[] }
    asked.push(Names)
    response.writeHead(refuses ? 400 : 200)
    const found = Names.filter((name) => name in parameters)
    response.end(JSON.stringify({ Parameters: found.map((Name) => ({ Name, Value: parameters[Name] })) }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const environment: Record<string, string | undefined> = {
    AWS_ENDPOINT_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    AWS_ACCESS_KEY_ID: 'id',
    AWS_SECRET_ACCESS_KEY: 'hunter2',
    SECRETS_PATH: '/iotflow/dev',
  }
  return { asked, environment }
}

it('adds the secrets of the store, and keeps those that the environment has', async () => {
  const { asked, environment } = await startStore({
    '/iotflow/dev/ADMIN_TOKEN': 'of the store',
    '/iotflow/dev/INFLUXDB_TOKEN': 'of the store, too',
  })
  environment.ADMIN_TOKEN = 'of the environment'
  await loadSecrets(environment)
  expect(environment).toMatchObject({
    ADMIN_TOKEN: 'of the environment',
    INFLUXDB_TOKEN: 'of the store, too',
  })
  expect(environment).not.toHaveProperty('ENROLLMENT_KEY')
  const missing = secretSettings.filter((name) => name !== 'ADMIN_TOKEN')
  expect(asked).toEqual([missing.map((name) => `/iotflow/dev/${name}`)])
})

it('asks nobody without SECRETS_PATH', async () => {
  const { asked, environment } = await startStore({})
  environment.SECRETS_PATH = ''
  await loadSecrets(environment)
  expect(asked).toEqual([])
})

it('fails with a code and without a secret when the store refuses', async () => {
  const { environment } = await startStore({}, true)
  await expect(loadSecrets(environment)).rejects.toThrow(
    /^The secrets below \/iotflow\/dev could not be read: HTTP_400\.$/,
  )
})
