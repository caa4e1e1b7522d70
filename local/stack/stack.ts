/** `npm run stack`: InfluxDB, Mosquitto and Redis in Docker, and with the profile `app` the IoTFlow server too. */
import { createHash } from 'node:crypto'
import { open, readFile, rm } from 'node:fs/promises'
import { createInterface } from 'node:readline/promises'
import { fileURLToPath } from 'node:url'
import { root } from '../../lib/root.ts'
import { asksForHelp, exitCodeOf, parseOptions, runCommand, UsageError } from '../../scripts/command.ts'
import { describeFailure } from '../describe-failure.ts'
import { writeMosquittoFiles } from '../mqtt/mosquitto/files.ts'
import { type Compose, findCompose, NoDocker, type Profile, profiles, type Service } from './docker.ts'
import { makeSecrets, placeholders, readValues, type Values } from './secrets.ts'

const help = `InfluxDB, Mosquitto and Redis in Docker, for an IoTFlow server on this machine or in containers beside them.

  npm run stack -- up [--profile <p>]...   starts them and waits until they are healthy; generates missing secrets into .env
                      [--instances <n>]    how many IoTFlow servers (2); needs --profile app
  npm run stack -- status                  lists the services, their state and their addresses
  npm run stack -- logs [<service>...]     prints their logs; -f follows them, --tail <n> prints the last lines only
  npm run stack -- shell <service>         opens a shell in a container
  npm run stack -- down                    stops them and keeps their data
  npm run stack -- reset [--yes]           stops them and deletes their data, after a question

MOSQUITTO_SAFE=true in .env makes Mosquitto save its state after every message. A crash of Mosquitto then loses milliseconds,
but it passes fewer messages per second.
Profiles: app adds IoTFlow servers behind one port, on a libSQL server; grafana and prometheus add the servers of these names.
Exit code: 0 when all services are healthy, 1 when not, 2 when an argument is wrong, 3 when there is no Docker.
`

const envFile = '.env'
/** The container of Mosquitto reads this folder; `local/stack/compose.yaml` mounts it. */
const mosquittoFolder = fileURLToPath(new URL('.iotflow/stack/mosquitto', root))
/** Time for services to become healthy after their images are downloaded, s. */
const healthyS = 180

export interface StackOptions {
  readonly profiles: readonly Profile[]
  readonly instances?: number | undefined
}

const tlsOf = ({ TLS_CERT, TLS_KEY, MQTT_TLS_PORT }: Values) =>
  TLS_CERT && TLS_KEY ? { cert: TLS_CERT, key: TLS_KEY, port: MQTT_TLS_PORT ?? '8883' } : undefined

/**
 * Writes the configuration of Mosquitto and the account of IoTFlow, which holds a hash of the password only.
 * @returns a hash of the configuration: Docker replaces the container when it changes.
 */
const writeMosquitto = async (values: Values): Promise<string> => {
  const tls = tlsOf(values)
  // The container keeps the accounts of its first start in its volume, so that this file can be written anew.
  await rm(mosquittoFolder, { recursive: true, force: true })
  const configuration = await describeFailure(
    'The files of Mosquitto cannot be written: see TLS_CERT and TLS_KEY',
    () =>
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
        saving: values.MOSQUITTO_SAFE === 'true' ? 'safe' : 'fast',
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
    // compose.yaml puts it into an address.
    STACK_REDIS_PASSWORD: encodeURIComponent(values.REDIS_PASSWORD ?? 'not-made-yet'),
    STACK_TLS_PORT: tlsOf(values)?.port ?? 'none',
    ...more,
  })
  // Compose refuses every command when the file that it hands to the IoTFlow servers is missing.
  await (await open(envFile, 'a', 0o600)).close()
  return compose
}

/** The settings with which an IoTFlow server on this machine uses the stack. */
export function serverSettings(values: Values): Record<string, string> {
  const at = (port: string | undefined, defaultPort: number) => `127.0.0.1:${port ?? defaultPort}`
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

/** The same for `npm run dev`, which serves this machine only: HOST and TLS are meant for the containers. */
export const devSettings = (values: Values): Record<string, string> => ({
  ...serverSettings(values),
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

const isHealthy = ({ state }: Service) => state === 'healthy' || state === 'running'

/**
 * Starts the stack and waits until every service is healthy.
 * @returns the values of `.env` and the environment, with the secrets that were generated.
 * @throws {NoDocker} and {Error} one sentence with what to do.
 */
export async function startStack(options: StackOptions): Promise<Values> {
  const { profiles: wanted, instances } = options
  const made = await makeSecrets(envFile, wanted, (await openCompose()).volumes)
  if (made.length > 0) print(`Generated in ${envFile}, which only you can read: ${made.join(', ')}.\n`)
  const values = await readValues(envFile)
  const compose = await openCompose({ STACK_MOSQUITTO: await writeMosquitto(values) })
  const code = await compose.show([
    ...wanted.flatMap((profile) => ['--profile', profile]),
    'up',
    '--detach',
    ...(wanted.includes('app') ? ['--build'] : []),
    ...(instances === undefined ? [] : ['--scale', `server=${instances}`]),
    ...['--wait', '--wait-timeout', String(healthyS)],
  ])
  const services = await compose.services().catch(() => [])
  if (code !== 0) {
    const unhealthy = services.filter((service) => !isHealthy(service))
    const [first] = unhealthy
    throw new Error(
      first === undefined
        ? 'The stack was not started: the output of Docker above says why.'
        : `Not healthy: ${unhealthy.map(({ name, state }) => `${name} (${state})`).join(', ')}. Its log: npm run stack -- logs ${first.name}`,
    )
  }
  printServices(services, values)
  return values
}

const showStatus = async (): Promise<number> => {
  const services = await (await openCompose()).services()
  if (services.length === 0) {
    print('The stack is not running: npm run stack -- up starts it.\n')
    return 1
  }
  printServices(services, await readValues(envFile))
  return services.every(isHealthy) ? 0 : 1
}

const everyProfile = profiles.flatMap((profile) => ['--profile', profile])

const down = async (compose: Compose, more: readonly string[] = []) =>
  (await compose.show([...everyProfile, 'down', '--remove-orphans', ...more])) === 0 ? 0 : 1

const reset = async (yes: boolean): Promise<number> => {
  if (!yes && !process.stdin.isTTY)
    throw new UsageError(
      'reset deletes all data of the stack: give --yes when there is no terminal to ask on.',
    )
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

/** @throws {UsageError} */
export function parseUp(args: readonly string[]): StackOptions {
  const { values } = parseOptions({
    args: [...args],
    options: {
      profile: { type: 'string', multiple: true, default: [] },
      instances: { type: 'string' },
    },
  })
  const wanted = values.profile.map((name) => {
    const profile = profiles.find((one) => one === name)
    if (profile === undefined)
      throw new UsageError(`--profile must be one of ${profiles.join(', ')}, not "${name}".`)
    return profile
  })
  const { instances } = values
  if (instances !== undefined && !/^[1-9]\d?$/.test(instances))
    throw new UsageError(`--instances must be a whole number from 1 to 99, not "${instances}".`)
  if (instances !== undefined && !wanted.includes('app'))
    throw new UsageError('--instances needs --profile app.')
  return {
    profiles: [...new Set(wanted)],
    instances: instances === undefined ? undefined : Number(instances),
  }
}

const nothingMore = (command: string, args: readonly string[]) => {
  if (args.length > 0) throw new UsageError(`${command} takes no argument "${args[0]}".`)
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
      if (service === undefined)
        throw new UsageError('shell needs the name of a service, for example influxdb.')
      nothingMore(command, rest)
      const terminal = process.stdin.isTTY ? [] : ['-T']
      return (await openCompose()).show([...everyProfile, 'exec', ...terminal, service, 'sh'])
    }
    case 'reset': {
      const { values } = parseOptions({
        args: [...args],
        options: { yes: { type: 'boolean', default: false } },
      })
      return reset(values.yes)
    }
    case undefined:
      throw new UsageError('stack needs a command: up, status, logs, shell, down or reset.')
    default:
      throw new UsageError(`stack has no command "${command}": use up, status, logs, shell, down or reset.`)
  }
}

/** @returns the exit code for an error of the stack: 3 when there is no Docker. */
export const stackExitCode = (error: unknown): number => (error instanceof NoDocker ? 3 : exitCodeOf(error))

export const main = () => {
  const [command, ...args] = process.argv.slice(2)
  // Docker Compose on this terminal gets Ctrl-C too: it ends first, and then this process.
  process.on('SIGINT', () => {})
  return runCommand(() => {
    if (!asksForHelp(process.argv.slice(2))) return carryOut(command, args)
    print(help)
    return 0
  }, stackExitCode)
}
