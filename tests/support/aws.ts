/** AWS for tests: the moto server, and calls to it in the protocols of its services. */
import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { AwsClient } from 'aws4fetch'
import { type AwsAccess, createAwsCall } from '../../lib/lambda/aws.ts'
import { freePort } from './free-port.ts'
import { patienceMs, until } from './waiting.ts'

/** Path of the program: `MOTO_SERVER`, or `moto_server` on the PATH; undefined when it is not installed. */
export function findMoto(): string | undefined {
  const candidates = [
    process.env.MOTO_SERVER,
    ...(process.env.PATH ?? '').split(':').map((folder) => `${folder}/moto_server`),
  ]
  return candidates.find((file) => {
    try {
      if (!file) return false
      accessSync(file, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

export const awsAccess: AwsAccess = {
  region: 'eu-central-1',
  accessKeyId: 'test',
  secretAccessKey: 'test',
  sessionToken: undefined,
}

/** What programs need in their environment so that they call this server as AWS. */
export type AwsEnvironment = Readonly<Record<string, string>>

export interface Aws {
  /** Base address without a slash at its end; every service answers there. */
  readonly endpoint: string
  readonly environment: AwsEnvironment
  /** A service with the JSON protocol: `call('ssm', 'AmazonSSM.GetParameters', …)`. */
  call<Answer>(service: string, operation: string, body: object): Promise<Answer>
  /** A service with the query protocol. @returns XML. */
  query(service: string, version: string, parameters: Readonly<Record<string, string>>): Promise<string>
  /** A request to a service that has paths; the path begins with a slash. */
  request(service: string, path: string, init?: RequestInit): Promise<Response>
  stop(): Promise<void>
}

/** @throws {Error} with its output when it does not start. */
export async function startAws(): Promise<Aws> {
  const binary = findMoto()
  if (binary === undefined) throw new Error('moto_server is not installed')
  const port = await freePort()
  const child = spawn(binary, ['-H', '127.0.0.1', '-p', String(port)], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += chunk
    })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const killNow = () => child.kill('SIGKILL')
  process.once('exit', killNow)
  const endpoint = `http://127.0.0.1:${port}`
  const answers = () => fetch(endpoint).then(Boolean, () => false)
  await until(async () => (await answers()) || child.exitCode !== null, 'an answer', 50).catch(killNow)
  if (child.exitCode !== null || child.killed) throw new Error(`moto_server did not start:\n${said}`)
  const request: Aws['request'] = (service, path, init) =>
    new AwsClient({ ...awsAccess, sessionToken: '', service, retries: 0 }).fetch(`${endpoint}${path}`, init)
  return {
    endpoint,
    environment: {
      AWS_ENDPOINT_URL: endpoint,
      AWS_REGION: awsAccess.region,
      AWS_ACCESS_KEY_ID: awsAccess.accessKeyId,
      AWS_SECRET_ACCESS_KEY: awsAccess.secretAccessKey,
    },
    call: (service, operation, body) =>
      createAwsCall(awsAccess, {
        service,
        endpoint: `${endpoint}/`,
        protocol: service === 'sqs' ? '1.0' : '1.1',
        timeoutMs: patienceMs,
      })(operation, body),
    async query(service, version, parameters) {
      const response = await request(service, '/', {
        method: 'POST',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ Version: version, ...parameters }).toString(),
      })
      return response.text()
    },
    request,
    async stop() {
      process.off('exit', killNow)
      killNow()
      await exited
    },
  }
}
