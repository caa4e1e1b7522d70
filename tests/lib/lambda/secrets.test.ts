import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { loadSecrets } from '../../../lib/lambda/secrets.ts'
import { type Aws, findMoto, startAws } from '../../support/aws.ts'
import { describeWith } from '../../support/backends.ts'

type Environment = Record<string, string | undefined>

const environmentAt = (endpoint: string, secrets: string): Environment => ({
  AWS_ENDPOINT_URL: endpoint,
  AWS_REGION: 'eu-central-1',
  AWS_ACCESS_KEY_ID: 'id',
  AWS_SECRET_ACCESS_KEY: 'hunter2',
  SECRETS_PATH: '/iotflow/dev',
  SECRETS: secrets,
})

/** A parameter store that answers its first calls with these, then with one secret. */
const startStore = async (...failures: { status: number; type?: string }[]) => {
  const asked: string[][] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    asked.push((JSON.parse(body) as { Names: string[] }).Names)
    const failure = failures.shift()
    response.writeHead(failure?.status ?? 200)
    response.end(
      failure === undefined
        ? JSON.stringify({ Parameters: [{ Name: '/iotflow/dev/ADMIN_TOKEN', Value: 'of the store' }] })
        : JSON.stringify({ __type: failure.type && `com.amazonaws.ssm#${failure.type}`, message: 'hunter2' }),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { asked, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }
}

it.each(['', undefined])('asks nobody where SECRETS is %j', async (secrets) => {
  const { asked, endpoint } = await startStore()
  await loadSecrets({ ...environmentAt(endpoint, ''), SECRETS: secrets })
  await loadSecrets({ ...environmentAt(endpoint, 'ADMIN_TOKEN'), SECRETS_PATH: '' })
  await loadSecrets({ ...environmentAt(endpoint, 'ADMIN_TOKEN'), ADMIN_TOKEN: 'is there' })
  expect(asked).toEqual([])
})

it.each([
  ['is throttled', 400, 'ThrottlingException'],
  ['is throttled in another way', 429, undefined],
  ['has a fault', 500, 'InternalServerError'],
])('tries again after a store that %s', async (_what, status, type) => {
  const failure = { status, ...(type === undefined ? {} : { type }) }
  // Beyond the tries of one call, which only some failures get.
  const { asked, endpoint } = await startStore(...Array(5).fill(failure))
  const environment = environmentAt(endpoint, 'ADMIN_TOKEN')
  await loadSecrets(environment, 60_000)
  expect(environment.ADMIN_TOKEN).toBe('of the store')
  expect(asked).toHaveLength(6)
})

it('ends when its time is over, with what the store says', async () => {
  const { asked, endpoint } = await startStore(
    ...Array(500).fill({ status: 400, type: 'ThrottlingException' }),
  )
  await expect(loadSecrets(environmentAt(endpoint, 'ADMIN_TOKEN'), 300)).rejects.toThrow(
    /^The secrets below \/iotflow\/dev could not be read: ThrottlingException\.$/,
  )
  expect(asked.length).toBeLessThan(500)
})

it('fails at once, with a name and without a secret, when the store refuses', async () => {
  const { asked, endpoint } = await startStore({ status: 400, type: 'AccessDeniedException' })
  await expect(loadSecrets(environmentAt(endpoint, 'ADMIN_TOKEN'))).rejects.toThrow(
    /^The secrets below \/iotflow\/dev could not be read: AccessDeniedException\.$/,
  )
  expect(asked).toHaveLength(1)
})

describeWith({ moto: findMoto() !== undefined }, 'secrets in SSM', () => {
  let aws: Aws
  beforeAll(async () => {
    aws = await startAws()
    for (const name of ['ADMIN_TOKEN', 'INFLUXDB_TOKEN', 'DATABASE_AUTH_TOKEN'])
      await aws.call('ssm', 'AmazonSSM.PutParameter', {
        Name: `/iotflow/dev/${name}`,
        Value: `${name} of the store`,
        Type: 'SecureString',
      })
  }, 120_000)
  afterAll(() => aws?.stop())

  it('are those that the function needs, in clear; a missing one is left out', async () => {
    const environment = environmentAt(`${aws.endpoint}/`, 'ADMIN_TOKEN,ENROLLMENT_KEY,DATABASE_AUTH_TOKEN')
    environment.ADMIN_TOKEN = 'of the environment'
    await loadSecrets(environment)
    expect(environment).toMatchObject({
      ADMIN_TOKEN: 'of the environment',
      DATABASE_AUTH_TOKEN: 'DATABASE_AUTH_TOKEN of the store',
    })
    expect(environment).not.toHaveProperty('ENROLLMENT_KEY')
    expect(environment).not.toHaveProperty('INFLUXDB_TOKEN')
  })
})
