/** `npm run simulate`: a fleet of simulated devices against a layer that is running. */
import { help, parseArguments, UsageError } from './arguments.ts'
import { runFleet } from './fleet.ts'
import { onInterrupt } from './interrupt.ts'
import { formatSummary, progressLine, toJson } from './report.ts'
import { SimulationError } from './request.ts'

const introduction = ({
  devices,
  durationS,
  rate,
  protocol,
  url,
  mqttUrl,
}: ReturnType<typeof parseArguments>['fleet']) => {
  const where = { http: url, mqtt: mqttUrl, both: `${url} and ${mqttUrl}` }[protocol]
  return `${devices} simulated ${devices === 1 ? 'device' : 'devices'}, ${rate}/s each for ${durationS} s, to ${where}\n\n`
}

const main = async (): Promise<void> => {
  const asked = parseArguments(process.argv.slice(2))
  if (asked.help) {
    process.stdout.write(help)
    return
  }
  const signal = onInterrupt()
  const progress = progressLine(
    asked.json ? { write: () => undefined } : process.stdout,
    asked.fleet.durationS,
  )
  if (!asked.json) process.stdout.write(introduction(asked.fleet))
  try {
    const summary = await runFleet({ ...asked.fleet, signal, onProgress: progress.show })
    progress.clear()
    process.stdout.write(asked.json ? toJson(summary) : formatSummary(summary))
    process.exitCode = summary.ok ? 0 : 1
  } finally {
    progress.clear()
  }
}

main().catch((error: unknown) => {
  if (!(error instanceof SimulationError || error instanceof UsageError)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = error instanceof UsageError ? 2 : 1
})
