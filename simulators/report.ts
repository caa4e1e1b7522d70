/** What a person sees of a fleet: one line while it runs, a table when it is done. */
import type { Counts, Progress, Summary } from './fleet.ts'

/** Columns as wide as their widest cell; numbers to the right. */
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

const counted = ({ sent, acknowledged, stored, missing, altered }: Counts) => [
  sent,
  acknowledged,
  stored,
  missing,
  altered,
]

const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`

const verdict = ({ total, faults, ok }: Summary): string[] => {
  if (ok)
    return [
      `All ${total.acknowledged} acknowledged readings came back from the layer, each with its time and exact values.`,
    ]
  if (total.acknowledged === 0) return ['No reading was acknowledged: nothing is proven.']
  const lost = total.missing + total.altered
  const more = lost - faults.length
  return [
    `FAILED: ${total.missing} missing and ${total.altered} altered of ${plural(total.acknowledged, 'acknowledged reading')}.`,
    ...faults.map((fault) => `  ${fault}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ]
}

const notes = ({ total, retries, unacknowledged }: Summary): string[] => [
  ...Object.entries(retries).map(([reason, count]) => `sent again ${count} × after: ${reason}`),
  ...Object.entries(unacknowledged).map(
    ([reason, count]) =>
      `${plural(count, 'reading')} without an acknowledgement (${reason}), not counted as missing`,
  ),
  ...(total.late > 0
    ? [`${plural(total.late, 'reading')} could be read only some time after the acknowledgement`]
    : []),
  ...(total.unexpected > 0 ? [`${plural(total.unexpected, 'stored reading')} that no device sent`] : []),
]

/** The table of a fleet with its verdict, whole lines. */
export function formatSummary(summary: Summary): string {
  const table = columns([
    ['device', 'id', 'protocol', 'sent', 'acknowledged', 'stored', 'missing', 'altered'],
    ...summary.devices.map((device) => [
      device.name,
      String(device.id),
      device.protocol.toUpperCase(),
      ...counted(device),
    ]),
    ['total', '', '', ...counted(summary.total)],
  ])
  const rule = '─'.repeat(Math.max(...table.map((line) => line.length)))
  const lines = [table[0], rule, ...table.slice(1, -1), rule, table.at(-1)].map((line) => `  ${line}`)
  return `${[...lines, '', ...verdict(summary), ...notes(summary).map((note) => `Note: ${note}.`)].join('\n')}\n`
}

/** The same for programs. */
export const toJson = (summary: Summary): string => `${JSON.stringify(summary, undefined, 2)}\n`

/**
 * A line that is written over and over on a terminal; on anything else nothing is written.
 * @returns what to call with each progress, and what wipes the line.
 */
export function progressLine(
  out: { readonly isTTY?: boolean; write(text: string): unknown },
  durationS: number,
): { show(progress: Progress): void; clear(): void } {
  let written = false
  const write = (text: string) => {
    if (out.isTTY) out.write(`\r\u001b[2K${text}`)
  }
  return {
    show({ phase, elapsedS, sent, acknowledged }) {
      const time =
        phase === 'sending' ? `, ${Math.min(durationS, Math.floor(elapsedS))} of ${durationS} s` : ''
      write(`  ${phase}${time}: ${plural(sent, 'reading')} sent, ${acknowledged} acknowledged`)
      written = true
    },
    clear() {
      if (written) write('')
      written = false
    },
  }
}
