/** Makes one table from the report of a test run: the results of the contract suites on each backend. */
import { columns } from '../../simulators/report.ts'

/** The part of vitest's JSON report that this file reads. */
export interface Report {
  readonly testResults: readonly {
    readonly name: string
    /** The reason why the file could not run. */
    readonly message?: string
    readonly status: string
    readonly assertionResults: readonly {
      readonly ancestorTitles: readonly string[]
      readonly title: string
      readonly status: string
      readonly failureMessages?: readonly string[] | null
    }[]
  }[]
}

export interface Row {
  /** The name of the contract: `telemetry store` for a suite named `telemetry store contract: influxdb`. */
  readonly contract: string
  readonly backend: string
  /** The describe blocks inside the suite; empty for tests directly in the suite. */
  readonly group: string
  readonly passed: number
  readonly failed: number
  /** Tests that were skipped because their server is missing. */
  readonly leftOut: number
}

const suite = /^(.+) contract: (.+)$/

/** One row for each describe block of each contract on each backend, sorted. */
export function rowsOf({ testResults }: Report): Row[] {
  const rows = new Map<string, { -readonly [K in keyof Row]: Row[K] }>()
  for (const { ancestorTitles, status } of testResults.flatMap((file) => file.assertionResults)) {
    const at = ancestorTitles.findIndex((title) => suite.test(title))
    const [, contract = '', backend = ''] = suite.exec(ancestorTitles[at] ?? '') ?? []
    if (contract === '') continue
    const group = ancestorTitles.slice(at + 1).join(', ')
    const key = JSON.stringify([contract, backend, group])
    const row = rows.get(key) ?? { contract, backend, group, passed: 0, failed: 0, leftOut: 0 }
    rows.set(key, row)
    if (status === 'passed') row.passed += 1
    else if (status === 'failed') row.failed += 1
    else row.leftOut += 1
  }
  return [...rows].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, row]) => row)
}

const outcome = ({ passed, failed, leftOut }: Row): string => {
  if (passed + failed === 0) return 'not there'
  return passed === passed + failed + leftOut ? `${passed} passed` : `${passed} passed, ${failed} FAILED`
}

/** The rows as lines of text. A name that repeats the one above it is left out. */
export function tableOf(rows: readonly Row[]): string {
  const cells = rows.map((row, n) => {
    const before = rows[n - 1]
    const sameContract = before?.contract === row.contract
    const same = sameContract && before.backend === row.backend
    return [sameContract ? '' : row.contract, same ? '' : row.backend, row.group || '(itself)', outcome(row)]
  })
  return `${columns([['contract', 'backend', 'group', 'tests'], ...cells]).join('\n')}\n`
}

type Assertion = Report['testResults'][number]['assertionResults'][number]

const lineOf = ({ ancestorTitles, title, failureMessages }: Assertion): string => {
  const [said = ''] = (failureMessages?.[0] ?? '').split('\n')
  return `${[...ancestorTitles, title].join(', ')}: ${said}`
}

/** One line for each failed test, in a contract suite or not. A required server that is missing is a failed test, too. */
export function failuresOf({ testResults }: Report): string[] {
  return testResults.flatMap(({ name, message, status, assertionResults }) => {
    const failed = assertionResults.filter((test) => test.status === 'failed')
    if (failed.length === 0 && status === 'failed') return [`${name}: ${(message ?? '').split('\n')[0]}`]
    return failed.map(lineOf)
  })
}

/** One line for each test that failed first and passed when it was tried again, with what the first try said. */
export function secondTriesOf({ testResults }: Report): string[] {
  return testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status, failureMessages }) => status === 'passed' && (failureMessages?.length ?? 0) > 0)
    .map(lineOf)
}
