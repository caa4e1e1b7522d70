/** `npm run bench:table`: runs the benchmarks that have goals, one after the other, and makes one table of their rows. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from '../lib/root.ts'
import { asksForHelp, numberArgument, parseOptions, runCommand, UsageError } from '../scripts/command.ts'
import { type Figures, type GoalRow, isMet, reachOf, writeRows } from './goal.ts'
import { BenchError } from './measure.ts'
import type { Comparison } from './ratios.ts'

/** A program that writes rows with `--json`, and the arguments that it gets for a number of rounds. */
interface Source {
  readonly program: string
  readonly args: (rounds: number) => readonly string[]
}

const rounds = (count: number) => ['--rounds', String(count)]

const sources: Readonly<Record<string, Source>> = {
  bench: { program: 'bench.ts', args: rounds },
  bridge: { program: 'bridge.ts', args: rounds },
  reads: { program: 'reads.ts', args: rounds },
  'influx-reads': { program: 'influx-reads.ts', args: rounds },
  devices: { program: 'devices.ts', args: rounds },
  idle: { program: 'idle.ts', args: () => [] },
  soak: { program: 'soak.ts', args: () => [] },
}

/** What stands above it in the file of the table was written by hand, and stays. */
const marker = '<!-- figures -->'

const help = `Runs the benchmarks that have goals and prints one table in Markdown.

  npm run bench:table -- [options]

  --only <names>     of ${Object.keys(sources).join(', ')}; with commas
  --rounds <n>       rounds of each (7)
  --from <files>     reads rows that benchmarks have written with --json, with commas, and runs nothing
  --json <file>      writes the rows there
  --markdown <file>  writes the table there instead of to standard output, below the line "${marker}" where there is one
  --help             this

Nothing else should use the machine. INFLUXDB_URL, INFLUXDB_TOKEN, TELEGRAF and mosquitto are used where they are there.
`

const rowsOf = async (file: string): Promise<readonly GoalRow[]> =>
  (JSON.parse(await readFile(file, 'utf8')) as { rows: readonly GoalRow[] }).rows

/** @throws {BenchError} when the benchmark has written no rows; one that ends with 1 below a goal has. */
const run = async (name: string, count: number, folder: string): Promise<readonly GoalRow[]> => {
  const { program, args } = sources[name] as Source
  const file = join(folder, `${name}.json`)
  process.stderr.write(`\n== ${name}\n`)
  const child = spawn(
    process.execPath,
    ['scripts/run.mjs', `benchmarks/${program}`, ...args(count), '--json', file],
    { cwd: fileURLToPath(root), stdio: ['ignore', 2, 2] },
  )
  await once(child, 'exit')
  return rowsOf(file).catch(() => {
    throw new BenchError(`${name} ended without figures`)
  })
}

const number = (value: number | undefined, digits = 0) =>
  value === undefined
    ? ''
    : value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })

const ms = (value: number | undefined) => number(value, value !== undefined && value < 10 ? 2 : 0)

const cells = (values: readonly string[]) => `| ${values.join(' | ')} |`

const ratioText = ({ median, interval }: Comparison): string =>
  interval === undefined
    ? median.toFixed(2)
    : `${median.toFixed(2)} (${interval.low.toFixed(2)}–${interval.high.toFixed(2)})`

const figures = (row: GoalRow): string[] =>
  [row.ours, row.floor, row.peer, row.bare?.figures]
    .filter((one): one is Figures => one !== undefined)
    .map((one, at) =>
      cells([
        at === 0 ? row.scenario : '',
        one.name,
        number(one.rate),
        ms(one.p50),
        ms(one.p95),
        ms(one.p99),
        number(one.cpu, 1),
        one.rss === undefined ? '' : number(one.rss / 1e6),
        [one.sent, one.acknowledged, one.stored]
          .filter((count) => count !== undefined)
          .map((count) => number(count))
          .join(' / '),
      ]),
    )

/** The rows as two tables: goals, and what was measured. */
export function markdownOf(rows: readonly GoalRow[]): string {
  const goals = rows.map((row) =>
    cells([
      row.scenario,
      row.goal,
      `${row.side === 'least' ? '≥' : '≤'} ${row.bound}`,
      ratioText(row.ratio),
      isMet(row)
        ? reachOf(row)
        : `**no**${row.bare ? `; the bare program: ${ratioText(row.bare.ratio)}` : ''}`,
    ]),
  )
  const commands = rows.map((row) => cells([row.scenario, `\`${row.command}\``]))
  return [
    cells(['Scenario', 'Goal', 'Bound', 'Ratio', 'Reached']),
    cells(['---', '---', '---', '---', '---']),
    ...goals,
    '',
    cells([
      'Scenario',
      'Program',
      '/s',
      'p50 ms',
      'p95 ms',
      'p99 ms',
      'CPU µs',
      'RSS MB',
      'sent / acknowledged / stored',
    ]),
    cells(['---', '---', '---:', '---:', '---:', '---:', '---:', '---:', '---']),
    ...rows.flatMap(figures),
    '',
    cells(['Scenario', 'Command']),
    cells(['---', '---']),
    ...commands,
    '',
  ].join('\n')
}

const writtenByHand = async (file: string): Promise<string> => {
  const text = await readFile(file, 'utf8').catch(() => '')
  const at = text.indexOf(marker)
  return at < 0 ? '' : `${text.slice(0, at)}${marker}\n\n`
}

const machine = () =>
  `Node ${process.version}, ${availableParallelism()} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB.`

const makeTable = async (): Promise<void> => {
  const { values } = parseOptions({
    options: {
      only: { type: 'string' },
      rounds: { type: 'string', default: '7' },
      from: { type: 'string' },
      json: { type: 'string' },
      markdown: { type: 'string' },
    },
  })
  const names = values.only?.split(',') ?? Object.keys(sources)
  const unknown = names.find((name) => !(name in sources))
  if (unknown !== undefined) throw new UsageError(`There is no benchmark "${unknown}".`)
  const count = numberArgument('--rounds', values.rounds, { min: 2, max: 100, whole: true })
  const folder = await mkdtemp(join(tmpdir(), 'iotflow-table-'))
  const rows: GoalRow[] = []
  try {
    if (values.from !== undefined)
      for (const file of values.from.split(',')) rows.push(...(await rowsOf(file)))
    else for (const name of names) rows.push(...(await run(name, count, folder)))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  if (values.json !== undefined) await writeRows(values.json, rows)
  const text = `${machine()}\n\n${markdownOf(rows)}`
  if (values.markdown === undefined) process.stdout.write(text)
  else await writeFile(values.markdown, (await writtenByHand(values.markdown)) + text)
}

export const main = () =>
  runCommand(async () => {
    if (asksForHelp(process.argv.slice(2))) process.stdout.write(help)
    else await makeTable()
    return 0
  })
