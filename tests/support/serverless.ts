/** Runs the program `serverless` for tests: without credentials, unless the test has an AWS of its own. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { loadFunctionTable } from '../../local/function-table.ts'
import { buildCloud, contentsFile } from '../../scripts/build.ts'
import { temporaryFolder } from './temporary.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const run = promisify(execFile)

/** Packaging writes its state into `.serverless`, wherever `--package` says that it goes; a deployment reads archives there. */
const lockFile = `${root}dist/packaging.lock`

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Test files run beside each other, but one packaging or deployment at a time: another one would get its state. */
async function alone<T>(work: () => Promise<T>): Promise<T> {
  await mkdir(`${root}dist`, { recursive: true })
  for (;;) {
    const taken = await writeFile(lockFile, String(process.pid), { flag: 'wx' }).then(
      () => false,
      () => true,
    )
    if (!taken) break
    const holder = Number(await readFile(lockFile, 'utf8').catch(() => process.pid))
    // Left by a run that was killed; an empty file is being written.
    if (holder > 0 && !isAlive(holder)) await rm(lockFile, { force: true })
    await sleep(100)
  }
  try {
    return await work()
  } finally {
    await rm(lockFile, { force: true })
  }
}

/** @returns all that it prints. @throws {Error} with it, when it fails. */
export function serverless(
  args: readonly string[],
  settings: Readonly<Record<string, string>> = {},
): Promise<string> {
  const usesState = args[0] === 'package' || args[0] === 'deploy'
  return usesState ? alone(() => runServerless(args, settings)) : runServerless(args, settings)
}

const runServerless = async (
  args: readonly string[],
  settings: Readonly<Record<string, string>>,
): Promise<string> => {
  const home = await temporaryFolder()
  try {
    const { stdout, stderr } = await run(
      process.execPath,
      ['node_modules/serverless/bin/serverless.js', ...args],
      {
        cwd: root,
        env: {
          PATH: process.env.PATH,
          HOME: home.path,
          SLS_TELEMETRY_DISABLED: '1',
          SLS_NOTIFICATIONS_MODE: 'off',
          ...settings,
        },
      },
    )
    return stdout + stderr
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    throw new Error(`serverless ${args.join(' ')} failed:\n${stdout}${stderr}`, { cause: error })
  } finally {
    await home.remove()
  }
}

export interface Resource {
  readonly Type: string
  // biome-ignore lint/suspicious/noExplicitAny: the shape of each type is defined by CloudFormation.
  readonly Properties: any
  readonly DependsOn?: readonly string[]
  readonly DeletionPolicy?: string
  readonly UpdateReplacePolicy?: string
}

export interface PackagedTemplate {
  readonly resources: Readonly<Record<string, Resource>>
  /** The service as Serverless reads it, with what stands in no template: tags of the stack, protection. */
  // biome-ignore lint/suspicious/noExplicitAny: it is the configuration of another program.
  readonly service: any
}

/** Packages a stage around empty bundles, which is faster than with those of a build. @param params of the stage. */
export async function packageTemplate(
  stage: string,
  params: Readonly<Record<string, string>> = {},
): Promise<PackagedTemplate> {
  const folder = await temporaryFolder()
  // What follows from the content of bundles, such as rights, is read from the last build.
  if (!existsSync(contentsFile)) await buildCloud()
  // The paths of bundles in serverless.yml begin at the root of the project.
  await mkdir(`${root}dist`, { recursive: true })
  const bundles = await mkdtemp(`${root}dist/empty-`)
  try {
    const { names } = await loadFunctionTable()
    await Promise.all(names.map((name) => writeFile(`${bundles}/${name}.mjs`, '')))
    const all = { ...params, dist: `dist/${basename(bundles)}` }
    await serverless([
      ...['package', '--stage', stage, '--package', folder.path],
      ...Object.entries(all).map(([name, value]) => `--param=${name}=${value}`),
    ])
    const read = async (file: string) => JSON.parse(await readFile(`${folder.path}/${file}`, 'utf8'))
    const { Resources: resources } = await read('cloudformation-template-update-stack.json')
    const { service } = await read('serverless-state.json')
    return { resources, service }
  } finally {
    await rm(bundles, { recursive: true })
    await folder.remove()
  }
}
