/** Secrets of a deployed stage: read once per container from the parameter store, by name, before the first call. */
import { AwsClient } from 'aws4fetch'

type Environment = Record<string, string | undefined>

/** Settings that are secrets; the parameter store has them as `<SECRETS_PATH>/<name>`. */
export const secretSettings = [
  'ADMIN_TOKEN',
  'ENROLLMENT_KEY',
  'DATABASE_AUTH_TOKEN',
  'UPSTASH_REDIS_REST_TOKEN',
  'INFLUXDB_TOKEN',
] as const

const timeoutMs = 4000

interface Answer {
  readonly Parameters?: readonly { readonly Name: string; readonly Value: string }[]
}

/**
 * Adds the secrets below `SECRETS_PATH` to the environment; what it has already stays, a secret that is not in the store
 * is left out, without `SECRETS_PATH` nothing happens.
 * @throws {Error} when the parameter store cannot be asked; the message holds no secret.
 */
export async function loadSecrets(environment: Environment): Promise<void> {
  const path = environment.SECRETS_PATH
  if (!path) return
  const region = environment.AWS_REGION ?? 'us-east-1'
  const client = new AwsClient({
    accessKeyId: environment.AWS_ACCESS_KEY_ID ?? '',
    secretAccessKey: environment.AWS_SECRET_ACCESS_KEY ?? '',
    ...(environment.AWS_SESSION_TOKEN ? { sessionToken: environment.AWS_SESSION_TOKEN } : {}),
    service: 'ssm',
    region,
    retries: 2,
  })
  const missing = secretSettings.filter((name) => !environment[name])
  const response = await client.fetch(
    environment.AWS_ENDPOINT_URL ?? `https://ssm.${region}.amazonaws.com/`,
    {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-amz-json-1.1', 'X-Amz-Target': 'AmazonSSM.GetParameters' },
      body: JSON.stringify({ Names: missing.map((name) => `${path}/${name}`), WithDecryption: true }),
      signal: AbortSignal.timeout(timeoutMs),
    },
  )
  if (!response.ok) throw new Error(`The secrets below ${path} could not be read: status ${response.status}.`)
  const { Parameters = [] } = (await response.json()) as Answer
  for (const { Name, Value } of Parameters) environment[Name.slice(path.length + 1)] = Value
}
