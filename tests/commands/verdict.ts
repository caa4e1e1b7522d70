/** Compares what became of the command by the words of the server with what the devices have seen. */
import { columns } from '../../simulators/report.ts'
import type { CommandDevice } from './device.ts'

export interface Observed {
  readonly device: CommandDevice
  readonly commands: readonly {
    readonly command_id: string
    readonly status: string
    readonly result: unknown
  }[]
}

interface Row {
  readonly what: string
  readonly devices: number
  readonly expected: string
  /** How many commands are in each state. */
  readonly states: Readonly<Record<string, number>>
  readonly deliveries: number
  readonly afterAnswer: number
}

export interface Verdict {
  readonly rows: readonly Row[]
  /** One sentence each. */
  readonly faults: readonly string[]
}

const kindOf = ({ behaviour: { over, startsLate, answers } }: CommandDevice): string => {
  const how = answers === 'once' ? 'answers' : answers === 'twice' ? 'answers twice' : 'never answers'
  return `${over}, ${startsLate ? 'offline at first, ' : ''}${how}`
}

const count = (texts: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const text of texts) counts[text] = (counts[text] ?? 0) + 1
  return counts
}

/** Faults of one device. @param cancelled the state after the operator cancelled what was open. */
const faultsOf = ({ device, commands }: Observed, cancelled: Observed | undefined): string[] => {
  const faults: string[] = []
  const name = `device ${device.id} (${kindOf(device)})`
  const [command, ...more] = commands
  if (command === undefined || more.length > 0)
    return [`${name} has ${commands.length} commands instead of one`]
  const answers = device.behaviour.answers !== 'never'
  const wanted = answers ? ['succeeded', 'succeeded'] : ['sent', 'cancelled']
  const states = [command.status, cancelled?.commands[0]?.status ?? 'none']
  if (wanted.join() !== states.join())
    faults.push(`${name}: the command is ${states.join(', then ')} instead of ${wanted.join(', then ')}`)
  const { command_id: id } = command
  const deliveries = device.deliveries.get(id) ?? 0
  if (deliveries === 0) faults.push(`${name} never got the command`)
  if (device.deliveries.size > 1) faults.push(`${name} got ${device.deliveries.size} different commands`)
  if (device.afterAnswer.length > 0)
    faults.push(
      `${name} got the command again ${device.afterAnswer.length} times after the server had its answer`,
    )
  if (answers && !device.finished.has(id)) faults.push(`${name}: no final answer was acknowledged`)
  if (answers && JSON.stringify(command.result) !== JSON.stringify({ device: device.id }))
    faults.push(`${name}: the result is ${JSON.stringify(command.result)}`)
  return faults
}

/**
 * @param answered when every device had answered.
 * @param cancelled after the operator has cancelled the rest.
 */
export function judge(
  answered: readonly Observed[],
  cancelled: readonly Observed[],
  fleet: { readonly progress: Readonly<Record<string, number>> },
): Verdict {
  const after = new Map(cancelled.map((one) => [one.device, one]))
  const faults = answered.flatMap((one) => faultsOf(one, after.get(one.device)))
  const states = count(cancelled.flatMap(({ commands }) => commands.map(({ status }) => status)))
  const told = Object.fromEntries(Object.entries(fleet.progress).filter(([, number]) => number > 0))
  for (const state of new Set([...Object.keys(states), ...Object.keys(told)]))
    if (states[state] !== told[state])
      faults.push(`the fleet command counts ${told[state] ?? 0} ${state}, its commands ${states[state] ?? 0}`)
  const kinds = new Map<string, Observed[]>()
  for (const one of answered) {
    const kind = kindOf(one.device)
    kinds.set(kind, [...(kinds.get(kind) ?? []), one])
  }
  const rows = [...kinds].sort().map(([what, all]) => ({
    what,
    devices: all.length,
    expected: what.includes('never') ? 'sent' : 'succeeded',
    states: count(all.flatMap(({ commands }) => commands.map(({ status }) => status))),
    deliveries: all.reduce(
      (sum, { device }) => sum + [...device.deliveries.values()].reduce((one, other) => one + other, 0),
      0,
    ),
    afterAnswer: all.reduce((sum, { device }) => sum + device.afterAnswer.length, 0),
  }))
  return { rows, faults }
}

/** The table with its verdict. */
export function formatVerdict({ rows, faults }: Verdict): string {
  const cells = rows.map((row) => [
    row.what,
    row.devices,
    row.expected,
    Object.entries(row.states)
      .map(([state, number]) => `${number} ${state}`)
      .join(', '),
    row.deliveries,
    row.afterAnswer,
  ])
  const table = columns([
    ['devices', 'number', 'expected', 'states', 'deliveries', 'after an answer'],
    ...cells,
  ])
  const end =
    faults.length === 0
      ? 'Every state is right, and nothing was delivered after its answer.'
      : `FAILED:\n${faults
          .slice(0, 20)
          .map((fault) => `  ${fault}`)
          .join('\n')}\n${faults.length} in all.`
  return `${table.map((line) => `  ${line}`).join('\n')}\n\n${end}\n`
}
