/** What a person sees of a copy: one line while it runs, a table of what is missing. */
import { formatTime } from '../lib/telemetry/time.ts'
import { columns } from '../simulators/report.ts'
import type { CopyProgress, Difference } from './copying.ts'

/** `2 h 5 min`, `3 min 20 s`, `12 s`. */
export const shownDuration = (seconds: number): string => {
  const s = Math.max(0, Math.round(seconds))
  if (s < 60) return `${s} s`
  return s < 3600
    ? `${Math.floor(s / 60)} min ${s % 60} s`
    : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`
}
export const shownNumber = (n: number) => n.toLocaleString('en-US')
export const plural = (n: number, noun: string) => `${shownNumber(n)} ${noun}${n === 1 ? '' : 's'}`

/** How often a line is shown where lines stay, and where one is written over, ms. */
const everyMs = { lines: 5000, terminal: 200 }

/** One line that is written over on a terminal; elsewhere a line every few seconds. */
export const createDisplay = (out: { readonly isTTY?: boolean; write(text: string): unknown }) => {
  const began = performance.now()
  let shownAt = out.isTTY ? Number.NEGATIVE_INFINITY : began
  let phaseBegan = began
  let phase = ''
  const textOf = (progress: CopyProgress): string => {
    const device = `device ${shownNumber(progress.device)} of ${shownNumber(progress.devices)}`
    if (progress.phase === 'counting') return `counting, ${device}: ${plural(progress.total, 'reading')}`
    if (progress.phase === 'comparing') return `comparing, ${device}: ${plural(progress.readings, 'reading')}`
    const rate = progress.readings / ((performance.now() - phaseBegan) / 1000)
    const left = progress.total - progress.readings
    const share = progress.total === 0 ? 100 : Math.floor((progress.readings / progress.total) * 100)
    const many = `${shownNumber(progress.readings)} of ${plural(progress.total, 'reading')}`
    const waiting = progress.phase === 'waiting' ? 'waiting for a store that is away, ' : ''
    const time =
      rate > 0 && left > 0 ? `, ${shownNumber(Math.round(rate))}/s, ${shownDuration(left / rate)} left` : ''
    return `${waiting}${device}, ${many}, ${share} %${time}`
  }
  const wipe = () => {
    if (out.isTTY) out.write('\r\u001b[2K')
  }
  return {
    show(progress: CopyProgress) {
      const now = performance.now()
      if (progress.phase !== phase && progress.phase !== 'waiting') {
        if (phase === 'counting') phaseBegan = now
        phase = progress.phase
      }
      if (now - shownAt < (out.isTTY ? everyMs.terminal : everyMs.lines)) return
      shownAt = now
      wipe()
      out.write(out.isTTY ? `  ${textOf(progress)}` : `${textOf(progress)}\n`)
    },
    wipe,
    seconds: () => (performance.now() - began) / 1000,
  }
}

/** Rows that are shown of what may be many. */
export const mostRows = 100

/** Whole lines. */
export const missingTable = (missing: readonly Difference[]): string => {
  const rows = missing
    .slice(0, mostRows)
    .map(({ deviceId, from, to, source, destination }) => [
      String(deviceId),
      formatTime(from),
      formatTime(to),
      source,
      destination,
      source - destination,
    ])
  const more = missing.length - rows.length
  const lines = columns([['device', 'from', 'to', 'source', 'destination', 'missing'], ...rows])
  return `${[...lines, ...(more > 0 ? [`and ${plural(more, 'range')} more`] : [])].join('\n')}\n`
}
