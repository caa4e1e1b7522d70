/** `npm run stack`: the servers beside the layer in Docker, and with the profile `app` the layer itself. */
import { createHash } from 'node:crypto'
import { open, readFile, rm } from 'node:fs/promises'
import { createInterface } from 'node:readline/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Compose, findCompose, NoDocker, type Profile, profiles, type Service } from './docker.ts'
import { writeMosquittoFiles } from './mosquitto-files.ts'
import { makeSecrets, placeholders, readValues, type Values } from './stack-secrets.ts'
import { step } from './step.ts'

const help = `InfluxDB, Mosquitto and Redis in Docker, for the layer on this machine or in containers beside them.

  npm run stack -- up [--profile <p>]...   starts them and waits until they are healthy. Secrets that are missing are made in .env
                      [--instances <n>]    of the layer, 2 unless given; with --profile app
  npm run stack -- status                  what runs, and where
  npm run stack -- logs [<service>...]     what they say; -f follows, --tail <n> shows the last lines
  npm run stack -- shell <service>         a shell in its container
  npm run stack -- down                    ends them; their data stays
  npm run stack -- reset [--yes]           ends them and deletes their data, after a question

MOSQUITTO_SAFE=true in .env makes Mosquitto save after every message: its crash loses milliseconds, at fewer messages a second.
Profiles: app is the layer itself behind one port, on a libSQL server; grafana and prometheus are what they are called.
Exit code: 0 when it is done and all are healthy, 1 when not, 2 when an argument is wrong, 3 when there is no Docker.
`

/** A bad argument; the message is one sentence. */
class UsageError extends Error {}

const envFile = '.env'
/** What Mosquitto's container reads; `local/compose.yaml` says the same. */
const mosquittoFolder = fileURLToPath(new URL('../.iotflow/stack/mosquitto', import.meta.url))
/** How long servers may take to become healthy once their images are here, s. */
const healthyS = 180

export interface StackOptions {
  readonly profiles: readonly Profile[]
  readonly instances?: number | undefined
}

const tlsOf = ({ TLS_CERT, TLS_KEY, MQTT_TLS_PORT }: Values) =>
  TLS_CERT && TLS_KEY ? { cert: TLS_CERT, key: TLS_KEY, port: MQTT_TLS_PORT ?? '8883' } : undefined

/**
 * Its configuration and the layer's account, which holds no password that could be read.
 * @returns what changes whenever they do: then the container has to be another.
 */
const writeMosquitto = async (values: Values): Promise<string> => {
  const tls = tlsOf(values)
  // The account too: what counts after the first start is what the container has in its volume.
  await rm(mosquittoFolder, { recursive: true, force: true })
  const configuration = await step('The files of Mosquitto cannot be written: see TLS_CERT and TLS_KEY', () =>
    writeMosquittoFiles({
      folder: mosquittoFolder,
      container: { folder: '/mosquitto/data', user: 'mosquitto' },
      plugin: '/usr/lib/mosquitto_dynamic_security.so',
      username: values.MQTT_USERNAME ?? 'iotflow',
      password: values.MQTT_PASSWORD ?? '',
      address: '0.0.0.0',
      port: 1883,
      websocketPort: 9001,
      internalPort: 1884,
      tls: tls && { ...tls, port: 8883 },
      crash: values.MOSQUITTO_SAFE === 'true' ? 'safe' : 'fast',
    }),
  )
  const hash = createHash('sha256').update(await readFile(configuration))
  if (tls) hash.update(await readFile(tls.cert))
  return hash.digest('hex').slice(0, 16)
}

const openCompose = async (more: Values = {}): Promise<Compose> => {
  const values = await readValues(envFile)
  const compose = await findCompose({
    ...values,
    ...placeholders(values),
    // It stands in an address there.
    STACK_REDIS_PASSWORD: encodeURIComponent(values.REDIS_PASSWORD ?? 'not-made-yet'),
    STACK_TLS_PORT: tlsOf(values)?.port ?? 'none',
    ...more,
  })
  // It is handed to the layer, and Compose wants to see it whatever it is asked for.
  await (await open(envFile, 'a', 0o600)).close()
  return compose
}

/** Settings with which a layer on this machine uses the stack. */
export function layerSettings(values: Values): Record<string, string> {
  const at = (port: string | undefined, usual: number) => `127.0.0.1:${port ?? usual}`
  return {
    INFLUXDB_URL: `http://${at(values.INFLUXDB_PORT, 8086)}`,
    INFLUXDB_TOKEN: values.INFLUXDB_TOKEN ?? '',
    REDIS_URL: `redis://:${encodeURIComponent(values.REDIS_PASSWORD ?? '')}@${at(values.REDIS_PORT, 6379)}`,
    UPSTASH_REDIS_REST_URL: '',
    UPSTASH_REDIS_REST_TOKEN: '',
    MQTT_URL: `mqtt://${at(values.MQTT_LAYER_PORT, 1884)}`,
    MQTT_USERNAME: values.MQTT_USERNAME ?? 'iotflow',
    MQTT_PASSWORD: values.MQTT_PASSWORD ?? '',
    MQTT_TLS_PORT: tlsOf(values)?.port ?? 'none',
  }
}

/** The same for `npm run dev`, which serves this machine only: HOST and TLS are those of the containers. */
export const devSettings = (values: Values): Record<string, string> => ({
  ...layerSettings(values),
  HOST: '127.0.0.1',
  TLS_CERT: '',
  TLS_KEY: '',
})

const addressOf = (service: string, values: Values): string => {
  const host = values.HOST ?? '127.0.0.1'
  const addresses: Record<string, string> = {
    influxdb: `http://127.0.0.1:${values.INFLUXDB_PORT ?? 8086}`,
    mosquitto: `mqtt://${host}:${values.MQTT_PORT ?? 1883}`,
    redis: `redis://127.0.0.1:${values.REDIS_PORT ?? 6379}`,
    grafana: `http://127.0.0.1:${values.GRAFANA_PORT ?? 3000} (admin, GRAFANA_PASSWORD)`,
    prometheus: `http://127.0.0.1:${values.PROMETHEUS_PORT ?? 9090}`,
    proxy: `http://${host}:${values.PORT ?? 5000}`,
  }
  return addresses[service] ?? ''
}

const print = (text: string) => process.stdout.write(text)

const printServices = (services: readonly Service[], values: Values) => {
  for (const { name, state } of services)
    print(`  ${name.padEnd(12)} ${state.padEnd(10)} ${addressOf(name, values)}`.trimEnd() + '\n')
}

const isWell = ({ state }: Service) => state === 'healthy' || state === 'running'

/**
 * Starts the stack and waits until all of it is healthy.
 * @returns what `.env` and the environment say by then.
 * @throws {NoDocker} and {Error} one sentence with what to do.
 */
export async function startStack(options: StackOptions): Promise<Values> {
  const { profiles: wanted, instances } = options
  const made = await makeSecrets(envFile, wanted, (await openCompose()).volumes)
  if (made.length > 0) print(`Made in ${envFile}, which only you can read: ${made.join(', ')}.\n`)
  const values = await readValues(envFile)
  const compose = await openCompose({ STACK_MOSQUITTO: await writeMosquitto(values) })
  const code = await compose.show([
    ...wanted.flatMap((profile) => ['--profile', profile]),
    'up',
    '--detach',
    ...(wanted.includes('app') ? ['--build'] : []),
    ...(instances === undefined ? [] : ['--scale', `layer=${instances}`]),
    ...['--wait', '--wait-timeout', String(healthyS)],
  ])
  const services = await compose.services().catch(() => [])
  if (code !== 0) {
    const ill = services.filter((service) => !isWell(service))
    const [first] = ill
    throw new Error(
      first === undefined
        ? 'The stack was not started: what Docker says of it stands above.'
        : `Not healthy: ${ill.map(({ name, state }) => `${name} (${state})`).join(', ')}. What it says: npm run stack -- logs ${first.name}`,
    )
  }
  printServices(services, values)
  return values
}

const showStatus = async (): Promise<number> => {
  const services = await (await openCompose()).services()
  if (services.length === 0) {
    print('Nothing of the stack is there: npm run stack -- up starts it.\n')
    return 1
  }
  printServices(services, await readValues(envFile))
  return services.every(isWell) ? 0 : 1
}

const everyProfile = profiles.flatMap((profile) => ['--profile', profile])

const down = async (compose: Compose, more: readonly string[] = []) =>
  (await compose.show([...everyProfile, 'down', '--remove-orphans', ...more])) === 0 ? 0 : 1

const reset = async (yes: boolean): Promise<number> => {
  if (!yes && !process.stdin.isTTY)
    throw new UsageError('reset deletes all data of the stack: say --yes where nobody can be asked.')
  const compose = await openCompose()
  if (!yes) {
    const asked = createInterface({ input: process.stdin, output: process.stdout })
    const answer = await asked.question(
      'This deletes all telemetry, accounts and dashboards of the stack. Type yes: ',
    )
    asked.close()
    if (answer.trim() !== 'yes') {
      print('Nothing was deleted.\n')
      return 1
    }
  }
  const code = await down(compose, ['--volumes'])
  await rm(mosquittoFolder, { recursive: true, force: true })
  return code
}

const parsed = <T>(parse: () => T): T => {
  try {
    return parse()
  } catch (error) {
    throw new UsageError(`${(error as Error).message.split(/\n|\. /)[0]?.replace(/\.$/, '')}.`)
  }
}

/** @throws {UsageError} for an argument that is none. */
export function parseUp(args: readonly string[]): StackOptions {
  const { values } = parsed(() =>
    parseArgs({
      args: [...args],
      options: {
        profile: { type: 'string', multiple: true, default: [] },
        instances: { type: 'string' },
      },
    }),
  )
  const wanted = values.profile.map((name) => {
    const profile = profiles.find((one) => one === name)
    if (profile === undefined) throw new UsageError(`--profile knows ${profiles.join(', ')}, not "${name}".`)
    return profile
  })
  const { instances } = values
  if (instances !== undefined && !/^[1-9]\d?$/.test(instances))
    throw new UsageError(`--instances must be a whole number from 1 to 99, not "${instances}".`)
  if (instances !== undefined && !wanted.includes('app'))
    throw new UsageError('--instances is about the layer: it goes with --profile app.')
  return {
    profiles: [...new Set(wanted)],
    instances: instances === undefined ? undefined : Number(instances),
  }
}

const nothingMore = (command: string, args: readonly string[]) => {
  if (args.length > 0) throw new UsageError(`${command} takes no "${args[0]}".`)
}

const carryOut = async (command: string | undefined, args: readonly string[]): Promise<number> => {
  switch (command) {
    case 'up':
      await startStack(parseUp(args))
      return 0
    case 'down':
      nothingMore(command, args)
      return down(await openCompose())
    case 'status':
      nothingMore(command, args)
      return showStatus()
    case 'logs':
      return (await openCompose()).show([...everyProfile, 'logs', ...args])
    case 'shell': {
      const [service, ...rest] = args
      if (service === undefined) throw new UsageError('shell takes a service: influxdb, say.')
      nothingMore(command, rest)
      const terminal = process.stdin.isTTY ? [] : ['-T']
      return (await openCompose()).show([...everyProfile, 'exec', ...terminal, service, 'sh'])
    }
    case 'reset': {
      const { values } = parsed(() =>
        parseArgs({ args: [...args], options: { yes: { type: 'boolean', default: false } } }),
      )
      return reset(values.yes)
    }
    case undefined:
      throw new UsageError('stack takes up, status, logs, shell, down or reset.')
    default:
      throw new UsageError(`stack knows no "${command}": it takes up, status, logs, shell, down or reset.`)
  }
}

/** Tells what went wrong in one sentence. @returns the exit code for it. */
export function fault(error: unknown): number {
  process.stderr.write(`${(error as Error).message}\n`)
  if (error instanceof UsageError) return 2
  return error instanceof NoDocker ? 3 : 1
}

const main = async () => {
  const [command, ...args] = process.argv.slice(2)
  if ([command, ...args].some((argument) => argument === '--help' || argument === '-h')) {
    print(help)
    return
  }
  // Ctrl-C ends what runs on this terminal, and that ends this.
  process.on('SIGINT', () => {})
  process.exitCode = await carryOut(command, args).catch(fault)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
