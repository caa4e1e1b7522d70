/** Docker Compose with `local/compose.yaml`. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Parts of the stack that are started only when they are asked for. */
export const profiles = ['app', 'grafana', 'prometheus'] as const
export type Profile = (typeof profiles)[number]

/** There is no Docker that could be used; the message is one sentence. */
export class NoDocker extends Error {
  override readonly name = 'NoDocker'
}

/** A service as Docker sees it. */
export interface Service {
  readonly name: string
  /** `healthy`, `unhealthy`, `starting`, or without a health check the state, `exited` say. */
  readonly state: string
}

export interface Compose {
  /** Runs it on this terminal. @returns its exit code. */
  show(args: readonly string[]): Promise<number>
  /** Every container that is there, stopped ones too. */
  services(): Promise<Service[]>
  /** Names of the volumes that are there, as `local/compose.yaml` calls them. */
  volumes(): Promise<string[]>
}

const project = 'iotflow'
const file = fileURLToPath(new URL('./compose.yaml', import.meta.url))
const without = '`npm start` needs none: broker and stores are embedded'

interface Ended {
  /** Undefined when there is no such program. */
  readonly code: number | undefined
  readonly out: string
  readonly err: string
}

const run = (args: readonly string[], env: NodeJS.ProcessEnv, shown = false): Promise<Ended> =>
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

interface Listed {
  readonly Service: string
  readonly State: string
  readonly Health?: string
}

/** Newer versions of Compose print one object a line, older ones an array. */
const listed = (out: string): Listed[] =>
  out.trimStart().startsWith('[')
    ? (JSON.parse(out) as Listed[])
    : out
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Listed)

/**
 * @param env what `local/compose.yaml` asks for, beside the environment.
 * @throws {NoDocker} when Docker or its Compose is not here, or does not run.
 */
export async function findCompose(env: Readonly<Record<string, string>>): Promise<Compose> {
  const environment = { ...process.env, ...env }
  const plugin = await run(['compose', 'version'], environment)
  if (plugin.code === undefined) throw new NoDocker(`Docker is not installed; ${without}.`)
  if (plugin.code !== 0) throw new NoDocker(`Docker is here without its Compose plugin; ${without}.`)
  const server = await run(['version', '--format', '{{.Server.Version}}'], environment)
  if (server.code !== 0) {
    throw new NoDocker(
      /permission denied/i.test(server.err)
        ? `This user may not use Docker; ${without}.`
        : `Docker is installed but does not run; ${without}.`,
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
      listed(await ask([...compose, ...all, 'ps', '--all', '--format', 'json'])).map(
        ({ Service, State, Health }) => ({ name: Service, state: Health || State }),
      ),
    volumes: async () =>
      (await ask(['volume', 'ls', '--quiet', '--filter', `name=${project}_`]))
        .split('\n')
        .filter((name) => name.startsWith(`${project}_`))
        .map((name) => name.slice(project.length + 1)),
  }
}
