/** `npm run stack`: the backends in containers, by Docker Compose. */
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { fileURLToPath } from 'node:url'
import { parseEnv } from 'node:util'
import { writeMosquittoFiles } from './mosquitto-files.ts'

const help = `InfluxDB, Mosquitto and Redis in containers, and if wanted the layer itself.

  npm run stack -- up [--profile app|grafana|prometheus]...   starts them and waits until they are healthy
  npm run stack -- status                                     which run, and how they are
  npm run stack -- logs [SERVICE]                             what they say, until Ctrl-C
  npm run stack -- shell SERVICE                              a shell in a container
  npm run stack -- down                                       stops them; what they keep stays
  npm run stack -- reset [--yes]                              stops them and deletes what they keep

Secrets that are missing are made on the first start and added to .env. npm run dev:docker starts all of it and the
functions under serverless-offline beside it.
`

const root = fileURLToPath(new URL('../', import.meta.url))
const composeFile = join(root, 'local/compose.yaml')
const folder = '.iotflow/stack'

/** What the containers need, and how long each is in bytes. */
const secrets = {
  INFLUXDB_TOKEN: 32,
  INFLUXDB_PASSWORD: 18,
  MQTT_PASSWORD: 24,
  REDIS_PASSWORD: 24,
  ADMIN_TOKEN: 24,
  ENROLLMENT_KEY: 18,
  GRAFANA_PASSWORD: 18,
} as const

/**
 * Adds what is missing to the file, which is its owner's only. What is there stays.
 * @returns the names that were made.
 */
export function addSecrets(file: string): string[] {
  const known = existsSync(file) ? parseEnv(readFileSync(file, 'utf8')) : {}
  const missing = Object.entries(secrets).filter(([name]) => !known[name] && !process.env[name])
  if (missing.length === 0) return []
  const lines = missing.map(([name, bytes]) => `${name}=${randomBytes(bytes).toString('base64url')}\n`)
  appendFileSync(file, `\n# Made by npm run stack.\n${lines.join('')}`, { mode: 0o600 })
  chmodSync(file, 0o600)
  return missing.map(([name]) => name)
}

/** How the containers are reached from this machine. */
export const stackSettings = (env: Readonly<Record<string, string | undefined>>) => ({
  INFLUXDB_URL: 'http://127.0.0.1:8086',
  INFLUXDB_TOKEN: env.INFLUXDB_TOKEN ?? '',
  REDIS_URL: `redis://:${env.REDIS_PASSWORD ?? ''}@127.0.0.1:6379`,
  MQTT_URL: 'mqtt://127.0.0.1:1884',
  MQTT_USERNAME: 'iotflow',
  MQTT_PASSWORD: env.MQTT_PASSWORD ?? '',
})

/** @throws {Error} one sentence where Docker cannot be used. */
const needDocker = () => {
  const instead = 'Without it npm start and npm run dev have everything embedded.'
  const compose = spawnSync('docker', ['compose', 'version'], { stdio: 'ignore' })
  if (compose.error) throw new Error(`Docker is not installed. ${instead}`)
  if (compose.status !== 0) throw new Error(`Docker has no Compose plugin. ${instead}`)
  if (spawnSync('docker', ['info'], { stdio: 'ignore' }).status !== 0)
    throw new Error(`Docker does not run, or may not be used by you. ${instead}`)
}

const environment = () => {
  const file = join(root, '.env')
  const known = existsSync(file) ? parseEnv(readFileSync(file, 'utf8')) : {}
  return { ...known, ...process.env }
}

/** Runs Compose with the secrets in its environment, not in its command line. */
const compose = async (args: readonly string[], profiles: readonly string[] = []): Promise<number> => {
  const chosen = profiles.flatMap((profile) => ['--profile', profile])
  const child = spawn('docker', ['compose', '--file', composeFile, ...chosen, ...args], {
    cwd: root,
    stdio: 'inherit',
    env: environment() as NodeJS.ProcessEnv,
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}

const all = ['app', 'grafana', 'prometheus']

/** Starts the stack. @returns the exit code of Compose. @throws {Error} one sentence where Docker cannot be used. */
export async function startStack(profiles: readonly string[]): Promise<number> {
  needDocker()
  const made = addSecrets(join(root, '.env'))
  if (made.length > 0) process.stdout.write(`Made and added to .env: ${made.join(', ')}.\n`)
  mkdirSync(join(root, folder), { recursive: true, mode: 0o700 })
  await writeMosquittoFiles({
    folder: join(root, folder, 'mosquitto'),
    plugin: '/usr/lib/mosquitto_dynamic_security.so',
    username: 'iotflow',
    password: environment().MQTT_PASSWORD ?? '',
    address: '0.0.0.0',
    port: 1883,
    websocketPort: 9001,
    internalPort: 1884,
    container: { folder: '/mosquitto/data', user: 'mosquitto' },
    crash: 'fast',
  })
  return compose(['up', '--detach', '--wait', '--wait-timeout', '180'], profiles)
}

const confirmed = async (): Promise<boolean> => {
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  const answer = await terminal.question('This deletes everything the containers keep. Type yes to go on: ')
  terminal.close()
  return answer.trim() === 'yes'
}

/** @returns the exit code. @throws {Error} one sentence for a wrong argument. */
export async function runStack(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args
  if (command === undefined || command === '--help' || command === '-h') {
    process.stdout.write(help)
    return command === undefined ? 2 : 0
  }
  const profiles = rest.flatMap((arg, at) => (arg === '--profile' ? [rest[at + 1] ?? ''] : []))
  const wrong = profiles.find((profile) => !all.includes(profile))
  if (wrong !== undefined) throw new Error(`--profile must be ${all.join(', ')}, not ${wrong || 'nothing'}.`)
  const [service] = rest.filter((arg) => !arg.startsWith('--'))
  switch (command) {
    case 'up': {
      const code = await startStack(profiles)
      process.stdout.write(
        code === 0
          ? '\nAll of it is healthy. npm run dev:docker runs the functions beside it.\n'
          : '\nNot all of it became healthy: npm run stack -- logs says why.\n',
      )
      return code
    }
    case 'down':
      needDocker()
      return compose(['down'], all)
    case 'status':
      needDocker()
      return compose(['ps', '--all'], all)
    case 'logs':
      needDocker()
      return compose(['logs', '--follow', '--tail', '200', ...(service ? [service] : [])], all)
    case 'shell':
      if (service === undefined)
        throw new Error('shell needs the name of a service: npm run stack -- shell influxdb.')
      needDocker()
      return compose(['exec', service, 'sh'], all)
    case 'reset':
      needDocker()
      if (!rest.includes('--yes') && !(await confirmed())) {
        process.stdout.write('Nothing was deleted.\n')
        return 1
      }
      return compose(['down', '--volumes'], all)
    default:
      throw new Error(`There is no ${command}: up, down, status, logs, shell and reset are what it knows.`)
  }
}

const main = async (): Promise<number> => {
  const args = process.argv.slice(2)
  if (args[0] !== 'dev') return runStack(args)
  const code = await startStack([])
  if (code !== 0) return code
  const child = spawn(process.execPath, ['--import', 'tsx', 'local/dev.ts'], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...stackSettings(environment()) },
  })
  // Ctrl-C reaches it from the terminal; the containers go on.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  const [ended] = (await once(child, 'exit')) as [number | null]
  return ended ?? 1
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  main().then(
    (code) => process.exit(code),
    (error: Error) => {
      process.stderr.write(`${error.message}\n`)
      process.exit(1)
    },
  )
