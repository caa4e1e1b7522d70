/** `npm run test:backends` runs every contract suite on every backend that it finds, and prints one table. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { temporaryFolder } from '../support/temporary.ts'
import { failuresOf, type Report, rowsOf, secondTriesOf, tableOf } from './table.ts'

const help = `The contract suites on every backend there is.

  npm run test:backends                     all of them
  npm run test:backends -- telemetry        the test files with this in their path
  npm run test:backends -- --report <file>  the table of a run that was, from vitest's JSON report

INFLUXDB_URL and INFLUXDB_TOKEN name an InfluxDB 2, SQLD the program of a libSQL server; Redis and Mosquitto are
started where they are installed. With REQUIRE_BACKENDS=1, or names such as redis,influxdb, a missing one fails.
`

const inTests = readdirSync('tests', { recursive: true, withFileTypes: true })
  .map((entry) => join(entry.parentPath, entry.name))
  .filter((file) => file.endsWith('.ts') && !file.startsWith('tests/backends/'))
const source = new Map(inTests.map((file) => [file, readFileSync(file, 'utf8')]))

/** True when a describe block is named as a contract, in the test file or in a file of tests/support/ that it imports. */
const hasContract = (file: string): boolean => {
  const text = source.get(file) ?? ''
  const suites = [...text.matchAll(/from '[./]*\/(support\/[\w-]+\.ts)'/g)].map(([, one]) => `tests/${one}`)
  return [file, ...suites].some((one) => / contract: /.test(source.get(one) ?? ''))
}

/** The test files that contain contract suites. */
const filesWith = (words: readonly string[]): string[] =>
  inTests
    .filter((file) => file.endsWith('.test.ts') && words.every((word) => file.includes(word)))
    .filter(hasContract)
    .sort()

const readReport = async (file: string) => JSON.parse(await readFile(file, 'utf8')) as Report

/** Runs the files. @returns the report, and whether vitest itself succeeded. */
const runFiles = async (files: readonly string[]): Promise<{ report: Report; well: boolean }> => {
  const folder = await temporaryFolder()
  try {
    const output = join(folder.path, 'report.json')
    const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--reporter=dot', '--reporter=json']
    const child = spawn(process.execPath, [...vitest, `--outputFile.json=${output}`, ...files], {
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    const [code] = (await once(child, 'exit')) as [number | null]
    return { report: await readReport(output), well: code === 0 }
  } finally {
    await folder.remove()
  }
}

const main = async (): Promise<number> => {
  const { values, positionals } = parseArgs({
    options: { report: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const files = filesWith(positionals)
  if (files.length === 0)
    throw new Error(`No test file with a contract has ${positionals.join(' and ')} in its path.`)
  const { report, well } = values.report
    ? { report: await readReport(values.report), well: true }
    : await runFiles(files)
  const failures = failuresOf(report)
  const list = (title: string, lines: readonly string[]) => {
    if (lines.length > 0) process.stdout.write(`\n${title}:\n${lines.map((line) => `  ${line}\n`).join('')}`)
  }
  process.stdout.write(`\n${tableOf(rowsOf(report))}`)
  list('PASSED ONLY WHEN TRIED AGAIN', secondTriesOf(report))
  list('FAILED', failures)
  return well && failures.length === 0 ? 0 : 1
}

main().then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    process.stderr.write(`${(error as Error).message}\n`)
    process.exitCode = 2
  },
)
