/** The output of a copy: one line while it runs, and a table of missing readings. */
import { formatTime } from '../../lib/telemetry/time.ts'
import { columns } from '../../simulators/report.ts'
import type { Difference } from './comparing.ts'
import type { CopyProgress } from './copying.ts'

/** `2 h 5 min`, `3 min 20 s`, `12 s`. */
export const formatDuration = (seconds: number): string => {
  const s = Math.max(0, Math.round(seconds))
  if (s < 60) return `${s} s`
  return s < 3600
    ? `${Math.floor(s / 60)} min ${s % 60} s`
    : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`
}
export const formatNumber = (n: number) => n.toLocaleString('en-US')
export const plural = (n: number, noun: string) => `${formatNumber(n)} ${noun}${n === 1 ? '' : 's'}`

/** Pause between two lines in a file, and between two updates of the line on a terminal, ms. */
const everyMs = { lines: 5000, terminal: 200 }

export interface Output {
  readonly isTTY?: boolean
  write(text: string): unknown
}

/** One line that a terminal overwrites; elsewhere a new line every few seconds. */
export class ProgressDisplay {
  readonly #out: Output
  readonly #now: () => number
  readonly #began: number
  #shownAt: number
  #phase = ''
  #phaseBegan: number

  /** @param now a clock, ms. */
  constructor(out: Output, now: () => number = () => performance.now()) {
    this.#out = out
    this.#now = now
    this.#began = now()
    this.#phaseBegan = this.#began
    this.#shownAt = out.isTTY ? Number.NEGATIVE_INFINITY : this.#began
  }

  show(progress: CopyProgress): void {
    const now = this.#now()
    if (progress.phase !== this.#phase && progress.phase !== 'waiting') {
      if (this.#phase === 'counting') this.#phaseBegan = now
      this.#phase = progress.phase
    }
    const { isTTY } = this.#out
    if (now - this.#shownAt < (isTTY ? everyMs.terminal : everyMs.lines)) return
    this.#shownAt = now
    this.clear()
    const text = this.#textOf(progress, (now - this.#phaseBegan) / 1000)
    this.#out.write(isTTY ? `  ${text}` : `${text}\n`)
  }

  /** Removes the line from a terminal. */
  clear(): void {
    if (this.#out.isTTY) this.#out.write('\r\u001b[2K')
  }

  seconds(): number {
    return (this.#now() - this.#began) / 1000
  }

  #textOf({ phase, device, devices, readings, total }: CopyProgress, seconds: number): string {
    const which = `device ${formatNumber(device)} of ${formatNumber(devices)}`
    if (phase === 'counting') return `counting, ${which}: ${plural(total, 'reading')}`
    if (phase === 'comparing') return `comparing, ${which}: ${plural(readings, 'reading')}`
    const rate = readings / seconds
    const left = total - readings
    const share = total === 0 ? 100 : Math.floor((readings / total) * 100)
    const copied = `${formatNumber(readings)} of ${plural(total, 'reading')}, ${share} %`
    const waiting = phase === 'waiting' ? 'waiting for an unavailable store, ' : ''
    if (!(rate > 0 && left > 0)) return `${waiting}${which}, ${copied}`
    return `${waiting}${which}, ${copied}, ${formatNumber(Math.round(rate))}/s, ${formatDuration(left / rate)} left`
  }
}

/** Rows that a list prints at most. */
export const mostRows = 100

/** @returns lines, each with its newline. */
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
