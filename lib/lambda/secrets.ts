/** Secrets of a deployed function: each container reads those that its function needs, once, before its first call. */
import { setTimeout as sleep } from 'node:timers/promises'
import { AwsFault, accessOf, createAwsCall } from './aws.ts'

type Environment = Record<string, string | undefined>

/** Settings that are secrets; their parameters are named `<SECRETS_PATH>/<name>`. */
export const secretSettings = [
  'ADMIN_TOKEN',
  'ENROLLMENT_KEY',
  'DATABASE_AUTH_TOKEN',
  'UPSTASH_REDIS_REST_TOKEN',
  'INFLUXDB_TOKEN',
  'WEBHOOK_SIGNING_KEY',
] as const

export type SecretSetting = (typeof secretSettings)[number]

/** Time for one try, and for all of them: a container has 10 s before its first call, ms. */
const tryMs = 3000
const totalMs = 8000
/** Pause before the second try; each further one may be twice as long, ms. */
const firstPauseMs = 100
const longestPauseMs = 1600

interface Answer {
  readonly Parameters?: readonly { readonly Name: string; readonly Value: string }[]
}

/** An account may read 40 times per second: many containers that start at once have to wait for each other. */
const isPassing = (error: unknown): boolean =>
  error instanceof AwsFault
    ? error.type === 'ThrottlingException' || /^HTTP_(?:429|5\d\d)$/.test(error.code)
    : (error as { name?: string }).name === 'TimeoutError' || error instanceof TypeError

/** Any time up to the longest pause of this try: containers that failed together try again at different times. */
const pauseMs = (failures: number) => Math.random() * Math.min(longestPauseMs, firstPauseMs * 2 ** failures)

const retrying = async <T>(call: () => Promise<T>, patienceMs: number): Promise<T> => {
  const deadline = performance.now() + patienceMs
  for (let failures = 1; ; failures += 1) {
    try {
      return await call()
    } catch (error) {
      const pause = pauseMs(failures)
      if (!isPassing(error) || performance.now() + pause > deadline) throw error
      await sleep(pause)
    }
  }
}

/**
 * Adds the secrets that `SECRETS` names (separated by commas) to the environment, from the parameters below `SECRETS_PATH`.
 * Settings that the environment has already keep their values, missing parameters are skipped, and where there is nothing to read
 * nobody is asked.
 * @param patienceMs time for all tries.
 * @throws {Error} when the parameter store cannot be read; the message holds no secret.
 */
export async function loadSecrets(environment: Environment, patienceMs = totalMs): Promise<void> {
  const { SECRETS_PATH: path, SECRETS: names = '' } = environment
  const missing = names.split(',').filter((name) => name !== '' && !environment[name])
  if (!path || missing.length === 0) return
  const access = accessOf(environment)
  const call = createAwsCall(access, {
    service: 'ssm',
    endpoint: environment.AWS_ENDPOINT_URL ?? `https://ssm.${access.region}.amazonaws.com/`,
    protocol: '1.1',
    timeoutMs: tryMs,
  })
  const body = { Names: missing.map((name) => `${path}/${name}`), WithDecryption: true }
  const { Parameters = [] } = await retrying(
    () => call<Answer>('AmazonSSM.GetParameters', body),
    patienceMs,
  ).catch((error: unknown) => {
    if (error instanceof AwsFault)
      throw new Error(`The secrets below ${path} could not be read: ${error.type ?? error.code}.`)
    throw error
  })
  for (const { Name, Value } of Parameters) environment[Name.slice(path.length + 1)] = Value
}
