/** Runs the program `serverless` for tests: without credentials, unless the test has an AWS of its own. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { loadFunctionTable } from '../../local/function-table.ts'
import { buildCloud, contentsFile } from '../../scripts/build.ts'
import { temporaryFolder } from './temporary.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const run = promisify(execFile)

/** @returns all that it prints. @throws {Error} with it, when it fails. */
export async function serverless(
  args: readonly string[],
  settings: Readonly<Record<string, string>> = {},
): Promise<string> {
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
