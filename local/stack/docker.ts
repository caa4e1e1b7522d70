/** Docker Compose with `local/stack/compose.yaml`. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { root } from '../../lib/root.ts'

/** Services that start only with `--profile`. */
export const profiles = ['app', 'grafana', 'prometheus'] as const
export type Profile = (typeof profiles)[number]

/** Docker or its Compose plugin is missing, or does not run; the message is one sentence. */
export class NoDocker extends Error {
  override readonly name = 'NoDocker'
}

/** A service as Docker reports it. */
export interface Service {
  readonly name: string
  /** `healthy`, `unhealthy` or `starting`; without a health check its state, for example `exited`. */
  readonly state: string
}

export interface Compose {
  /** Runs a Compose command on this terminal. @returns its exit code. */
  show(args: readonly string[]): Promise<number>
  /** Every container, stopped ones too. */
  services(): Promise<Service[]>
  /** Names of the existing volumes, as `local/stack/compose.yaml` has them. */
  volumes(): Promise<string[]>
}

const project = 'iotflow'
const file = fileURLToPath(new URL('local/stack/compose.yaml', root))
const alternative = '`npm start` needs none: broker and stores are embedded'

interface Finished {
  /** Undefined when there is no such program. */
  readonly code: number | undefined
  readonly out: string
  readonly err: string
}

const run = (args: readonly string[], env: NodeJS.ProcessEnv, shown = false): Promise<Finished> =>
  new Promise((resolve, reject) => {
    const child = spawn('docker', args, { env, stdio: shown ? 'inherit' : ['ignore', 'pipe', 'pipe'] })
    let [out, err] = ['', '']
    child.stdout?.on('data', (chunk) => {
      out += chunk
    })
    child.stderr?.on('data', (chunk) => {
      err += chunk
    })
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') resolve({ code: undefined, out, err })
      else reject(error)
    })
    child.on('close', (code) => resolve({ code: code ?? 1, out, err }))
  })

interface ListedService {
  readonly Service: string
  readonly State: string
  readonly Health?: string
}

/** Newer versions of Compose print one object a line, older ones an array. */
const parseServices = (out: string): ListedService[] =>
  out.trimStart().startsWith('[')
    ? (JSON.parse(out) as ListedService[])
    : out
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as ListedService)

/**
 * @param env the variables that `local/stack/compose.yaml` needs, beside the environment of this process.
 * @throws {NoDocker} when Docker or its Compose plugin is missing, or does not run.
 */
export async function findCompose(env: Readonly<Record<string, string>>): Promise<Compose> {
  const environment = { ...process.env, ...env }
  const plugin = await run(['compose', 'version'], environment)
  if (plugin.code === undefined) throw new NoDocker(`Docker is not installed; ${alternative}.`)
  if (plugin.code !== 0) throw new NoDocker(`Docker is here without its Compose plugin; ${alternative}.`)
  const server = await run(['version', '--format', '{{.Server.Version}}'], environment)
  if (server.code !== 0) {
    throw new NoDocker(
      /permission denied/i.test(server.err)
        ? `This user may not use Docker; ${alternative}.`
        : `Docker is installed but does not run; ${alternative}.`,
    )
  }
  const all = profiles.flatMap((profile) => ['--profile', profile])
  const compose = ['compose', '--project-name', project, '--file', file]
  const ask = async (args: readonly string[]) => {
    const { code, out, err } = await run(args, environment)
    if (code !== 0) throw new Error(`docker ${args[0]} failed: ${err.trim().split('\n')[0]}`)
    return out
  }
  return {
    show: async (args) => (await run([...compose, ...args], environment, true)).code ?? 1,
    services: async () =>
      parseServices(await ask([...compose, ...all, 'ps', '--all', '--format', 'json'])).map(
        ({ Service, State, Health }) => ({ name: Service, state: Health || State }),
      ),
    volumes: async () =>
      (await ask(['volume', 'ls', '--quiet', '--filter', `name=${project}_`]))
        .split('\n')
        .filter((name) => name.startsWith(`${project}_`))
        .map((name) => name.slice(project.length + 1)),
  }
}
