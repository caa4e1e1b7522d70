/** The table of a run, for people and for programs. */
import type { ProcessUsage } from './process-usage.ts'
import { type Counts, type DeviceReport, type Summary, sum } from './summary.ts'

/** Aligns rows in columns; numbers are right-aligned. */
export function columns(rows: readonly (readonly (string | number)[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) {
    row.forEach((cell, at) => {
      widths[at] = Math.max(widths[at] ?? 0, String(cell).length)
    })
  }
  const numeric = widths.map((_, at) => typeof rows.at(-1)?.[at] === 'number')
  return rows.map((row) =>
    row
      .map((cell, at) => {
        const width = widths[at] ?? 0
        return numeric[at] ? String(cell).padStart(width) : String(cell).padEnd(width)
      })
      .join('  ')
      .trimEnd(),
  )
}

/** More devices than this are shown by type. */
const maxRows = 40

const countNames = ['sent', 'acknowledged', 'found', 'missing', 'duplicated', 'altered'] as const
const counted = (counts: Counts) => countNames.map((name) => counts[name])

export const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`

const byDevice = (devices: readonly DeviceReport[]) => [
  ['device', 'id', 'protocol', ...countNames],
  ...devices.map((device) => [
    device.name,
    String(device.id),
    device.protocol.toUpperCase(),
    ...counted(device),
  ]),
]

const byType = (devices: readonly DeviceReport[]) => {
  const groups = new Map<string, DeviceReport[]>()
  for (const device of devices) {
    const key = `${device.type} ${device.protocol.toUpperCase()}`
    groups.set(key, [...(groups.get(key) ?? []), device])
  }
  return [
    ['type', 'devices', 'protocol', ...countNames],
    ...[...groups.values()].map((group) => [
      group[0]?.type ?? '',
      String(group.length),
      group[0]?.protocol.toUpperCase() ?? '',
      ...counted(sum(group)),
    ]),
  ]
}

const verdict = ({ total, faults, ok }: Summary): string[] => {
  if (ok)
    return [
      `All ${total.acknowledged} acknowledged readings came back from the server, each once, with its time and exact values.`,
    ]
  if (total.acknowledged === 0) return ['No reading was acknowledged: nothing is proven.']
  const more = total.missing + total.duplicated + total.altered - faults.length
  return [
    `FAILED: ${total.missing} missing, ${total.duplicated} duplicated and ${total.altered} altered of ${plural(total.acknowledged, 'acknowledged reading')}.`,
    ...faults.map((fault) => `  ${fault}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ]
}

const counts = (record: Readonly<Record<string, number>>) =>
  Object.entries(record)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')

const notes = (summary: Summary): string[] => {
  const { total, retries, unacknowledged, injected, commands, configurations } = summary
  return [
    ...(Object.keys(injected).length > 0 ? [`faults made on purpose: ${counts(injected)}`] : []),
    ...Object.entries(retries).map(([reason, count]) => `sent again ${count} × after: ${reason}`),
    ...Object.entries(unacknowledged).map(
      ([reason, count]) =>
        `${plural(count, 'reading')} without an acknowledgement (${reason}), not counted as missing`,
    ),
    ...(total.late > 0
      ? [`${plural(total.late, 'reading')} could be read only some time after the acknowledgement`]
      : []),
    ...(total.unexpected > 0 ? [`${plural(total.unexpected, 'stored reading')} that no device sent`] : []),
    ...(commands + configurations > 0
      ? [`${plural(commands, 'command')} and ${plural(configurations, 'configuration')} received`]
      : []),
  ]
}

const usageOf = (name: string, usage: ProcessUsage | undefined) =>
  usage === undefined
    ? []
    : [`${name}: ${usage.cpu_percent} % of one core (${usage.cpu_s} s CPU), ${usage.memory_mib} MiB at most`]

const measures = ({ seconds, total, latency_ms: latency, simulator, server }: Summary): string[] => [
  `${plural(total.acknowledged, 'reading')} in ${seconds} s (${(total.acknowledged / Math.max(seconds, 0.1)).toFixed(1)}/s), acknowledged within ${latency.p50 ?? '-'} ms (median) and ${latency.p99 ?? '-'} ms (99 %)`,
  ...usageOf('simulator', simulator),
  ...usageOf('server', server),
]

/** The table of a fleet with its verdict. */
export function formatSummary(summary: Summary): string {
  const { devices, total } = summary
  const rows = devices.length > maxRows ? byType(devices) : byDevice(devices)
  const first = devices.length > maxRows ? ['total', String(devices.length), ''] : ['total', '', '']
  const table = columns([...rows, [...first, ...counted(total)]])
  const rule = '─'.repeat(Math.max(...table.map((line) => line.length)))
  const lines = [table[0], rule, ...table.slice(1, -1), rule, table.at(-1)].map((line) => `  ${line}`)
  const remarks = notes(summary).map((note) => `Note: ${note}.`)
  return `${[...lines, '', ...verdict(summary), ...measures(summary), ...remarks].join('\n')}\n`
}

/** The summary for programs. */
export const toJson = (summary: Summary): string => `${JSON.stringify(summary, undefined, 2)}\n`
