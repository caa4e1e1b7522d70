/** `npm run simulate`: a fleet of simulated devices against a running server. */
import { runCommand, UsageError } from '../scripts/command.ts'
import { parseArguments, type SimulateArguments } from './arguments.ts'
import { Fleet } from './fleet.ts'
import { Controls } from './interactive.ts'
import { onInterrupt } from './interrupt.ts'
import { formatSummary, toJson } from './report.ts'
import { FleetView } from './view.ts'

/** @returns the exit code: 0 when every acknowledged reading came back once and exactly. */
const simulate = async ({ fleet: options, json, interactive }: SimulateArguments): Promise<number> => {
  if (interactive && !(process.stdin.isTTY && process.stdout.isTTY))
    throw new UsageError('--interactive needs a terminal.')
  const fleet = new Fleet({ ...options, signal: onInterrupt() })
  const view = json ? undefined : new FleetView(fleet, process.stdout)
  const controls = interactive && view !== undefined ? new Controls(fleet, view, process.stdin) : undefined
  controls?.start()
  view?.start()
  try {
    const summary = await fleet.simulate()
    controls?.stop()
    view?.stop()
    process.stdout.write(json ? toJson(summary) : formatSummary(summary))
    return summary.ok ? 0 : 1
  } finally {
    controls?.stop()
    view?.stop()
  }
}

export const main = () =>
  runCommand(() => {
    const asked = parseArguments(process.argv.slice(2))
    if (asked.help === undefined) return simulate(asked)
    process.stdout.write(asked.help)
    return 0
  })
