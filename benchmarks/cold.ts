/** `npm run bench:cold`: size and import time of every bundle that is deployed, which a cold start pays for. */
import { execFile } from 'node:child_process'
import { platform } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { root } from '../lib/root.ts'
import { type BundleContents, buildCloud } from '../scripts/build.ts'
import { numberArgument, parseOptions, runCommand } from '../scripts/command.ts'
import { median } from './measure.ts'

const help = `Size of each bundle in dist/cloud, and what its import costs: CPU time of a new process that may use one core.

  npm run bench:cold -- [--rounds 7] [--only <part of a name>] [--check]

  --rounds <n>   imports of each bundle, 1 to 100; the median counts
  --only <text>  only functions with this text in their name
  --check        fails when a bundle is over its goal
`

/** What a bundle may cost. */
export interface ColdGoal {
  readonly bytes: number
  /** CPU time of its import, ms. */
  readonly importMs: number
}

/** Whether a bundle holds a client of the AWS SDK. */
export const hasAwsClient = ({ modules }: Pick<BundleContents, 'modules'>): boolean =>
  modules.some((module) => module.startsWith('@aws-sdk/client-'))

export const coldGoal = (withAwsClient: boolean): ColdGoal =>
  withAwsClient ? { bytes: 800 * 1024, importMs: 120 } : { bytes: 450 * 1024, importMs: 80 }

interface Bundle {
  /** As in serverless.yml. */
  readonly name: string
  readonly file: string
  readonly bytes: number
  readonly withAwsClient: boolean
}

/** Builds dist/cloud. @returns every bundle. */
const buildBundles = async (): Promise<Bundle[]> =>
  Object.entries(await buildCloud())
    .map(([name, contents]) => ({
      name,
      file: fileURLToPath(new URL(`dist/cloud/${name}.mjs`, root)),
      bytes: contents.bytes,
      withAwsClient: hasAwsClient(contents),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))

/** CPU time and not the time that passes: on one core both are the same, unless other programs run there too. */
const program = `
const before = process.cpuUsage()
await import(process.argv[1])
const { user, system } = process.cpuUsage(before)
process.stdout.write(String((user + system) / 1000))
process.exit()`

const run = promisify(execFile)

/** @returns CPU time of one import in a new process, ms. */
const importOnce = async ({ file }: Bundle): Promise<number> => {
  const node = [process.execPath, '--input-type=module', '-e', program, file]
  const [command = '', ...args] = platform() === 'linux' ? ['taskset', '-c', '0', ...node] : node
  const { stdout } = await run(command, args, { env: { STAGE: 'dev' } })
  return Number(stdout)
}

const measure = async (): Promise<number> => {
  const { values } = parseOptions({
    options: {
      rounds: { type: 'string', default: '7' },
      only: { type: 'string', default: '' },
      check: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const rounds = numberArgument('--rounds', values.rounds, { min: 1, max: 100 })
  const bundles = (await buildBundles()).filter(({ name }) => name.includes(values.only))
  const times = new Map(bundles.map(({ name }) => [name, [] as number[]]))
  // Round by round, so that a busy minute of the machine does not fall on one bundle.
  for (let round = 0; round < rounds; round += 1)
    for (const bundle of bundles) times.get(bundle.name)?.push(await importOnce(bundle))
  let over = 0
  process.stdout.write(`${'function'.padEnd(32)}     KB    ms  AWS client  over its goal\n`)
  for (const { name, bytes, withAwsClient } of bundles) {
    const ms = median(times.get(name) ?? [])
    const goal = coldGoal(withAwsClient)
    const misses = [
      ...(bytes > goal.bytes ? [`${Math.round(goal.bytes / 1024)} KB`] : []),
      ...(ms > goal.importMs ? [`${goal.importMs} ms`] : []),
    ]
    if (misses.length > 0) over += 1
    process.stdout.write(
      `${name.padEnd(32)} ${(bytes / 1024).toFixed(0).padStart(6)} ${ms.toFixed(0).padStart(5)}  ${(withAwsClient ? 'yes' : '').padEnd(10)}  ${misses.join(', ')}\n`,
    )
  }
  process.stdout.write(`${bundles.length} bundles, ${over} over their goal.\n`)
  return values.check && over > 0 ? 1 : 0
}

export const main = () => runCommand(measure)
