/** `npm run test:faults` runs the fault scenarios one after the other, and reports what became of every reading. */
import { parseArgs } from 'node:util'
import { scenarios, sizes } from './scenarios.ts'
import { faultsOf, isLeftOut, type Outcome, tableOf } from './verdict.ts'

const help = `Kills the server, stops its databases and floods it, then checks that every acknowledged reading is stored once.

  npm run test:faults                20 kills and short outages, under 10 minutes
  npm run test:faults -- --full      100 kills, outages of 60 s
  npm run test:faults -- --small     the short run of npm test
  npm run test:faults -- --only ${[...scenarios.keys()].join('|')}

With INFLUXDB_URL and INFLUXDB_TOKEN the scenarios use a real InfluxDB, else a simulated one that only accepts writes.
`

const main = async (): Promise<number> => {
  const { values } = parseArgs({
    options: {
      full: { type: 'boolean' },
      small: { type: 'boolean' },
      only: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const size = values.full ? sizes.full : values.small ? sizes.small : sizes.normal
  const wanted = values.only === undefined ? [...scenarios.keys()] : [values.only]
  const outcomes: Outcome[] = []
  for (const name of wanted) {
    const scenario = scenarios.get(name)
    if (scenario === undefined) throw new Error(`--only must be one of ${[...scenarios.keys()].join(', ')}.`)
    outcomes.push(...(await scenario(size, (text) => process.stderr.write(`${name}: ${text}\n`))))
  }
  process.stdout.write(`\n${tableOf(outcomes)}`)
  const faults = outcomes.flatMap((one) =>
    faultsOf(one).map((fault) => `FAILED: ${one.scenario}: ${fault}\n`),
  )
  const leftOut = outcomes.filter(isLeftOut).map(({ scenario }) => scenario)
  if (faults.length > 0) process.stdout.write(`\n${faults.join('')}`)
  else if (leftOut.length === outcomes.length) process.stdout.write('\nNo scenario was run.\n')
  else
    process.stdout.write(
      `\nNo acknowledged reading was lost.${leftOut.length > 0 ? ` LEFT OUT: ${leftOut.join(', ')}.` : ''}\n`,
    )
  return faults.length > 0 ? 1 : 0
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${(error as Error).stack ?? String(error)}\n`)
    process.exit(2)
  },
)
