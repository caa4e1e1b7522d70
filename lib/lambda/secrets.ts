/** Secrets of a deployed stage: each container reads them from the SSM parameter store once, before its first call. */
import { AwsFault, accessOf, createAwsCall } from './aws.ts'

type Environment = Record<string, string | undefined>

/** Settings that are secrets; their parameters are named `<SECRETS_PATH>/<name>`. */
export const secretSettings = [
  'ADMIN_TOKEN',
  'ENROLLMENT_KEY',
  'DATABASE_AUTH_TOKEN',
  'UPSTASH_REDIS_REST_TOKEN',
  'INFLUXDB_TOKEN',
] as const

/** Time for reading them, ms: part of a cold start. */
const timeoutMs = 4000

interface Answer {
  readonly Parameters?: readonly { readonly Name: string; readonly Value: string }[]
}

/**
 * Adds the secrets below `SECRETS_PATH` to the environment. Settings that it has already keep their values, missing
 * parameters are skipped, and without `SECRETS_PATH` nothing happens.
 * @throws {Error} when the parameter store cannot be read; the message holds no secret.
 */
export async function loadSecrets(environment: Environment): Promise<void> {
  const path = environment.SECRETS_PATH
  if (!path) return
  const access = accessOf(environment)
  const call = createAwsCall(access, {
    service: 'ssm',
    endpoint: environment.AWS_ENDPOINT_URL ?? `https://ssm.${access.region}.amazonaws.com/`,
    protocol: '1.1',
    timeoutMs,
  })
  const missing = secretSettings.filter((name) => !environment[name])
  const names = { Names: missing.map((name) => `${path}/${name}`), WithDecryption: true }
  const { Parameters = [] } = await call<Answer>('AmazonSSM.GetParameters', names).catch((error: unknown) => {
    if (error instanceof AwsFault)
      throw new Error(`The secrets below ${path} could not be read: ${error.code}.`)
    throw error
  })
  for (const { Name, Value } of Parameters) environment[Name.slice(path.length + 1)] = Value
}
