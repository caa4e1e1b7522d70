/** What is shown of a fleet while it runs: a picture that changes in place on a terminal, plain lines elsewhere. */
import type { DeviceStatus, SimulatedDevice } from './device.ts'
import type { Fleet } from './fleet.ts'
import { columns, plural } from './report.ts'
import { Screen, type Terminal } from './screen.ts'
import type { DeviceType, Values } from './signals/device-type.ts'

const frameMs = 250
const lineMs = 5000
/** Rates are means over this time, ms: a bit more than the time between two lines. */
const rateWindowMs = 6000
const statusNames: readonly DeviceStatus[] = ['online', 'connecting', 'offline', 'broken', 'stopped']

interface Sample {
  readonly atMs: number
  readonly sent: number
  readonly acknowledged: number
}

/** Minutes and seconds. */
const clock = (seconds: number) =>
  `${String(Math.floor(seconds / 60)).padStart(2, '0')}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`

/** A bar of `width` characters. @param share 0 to 1. */
export const bar = (share: number, width: number): string => {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width)
  return '█'.repeat(full) + '░'.repeat(width - full)
}

const counts = (record: Readonly<Record<string, number>>) =>
  Object.entries(record)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')

const unitOf = (type: DeviceType, name: string) => {
  const kind = type.fields[name]
  return typeof kind === 'object' && 'unit' in kind ? kind.unit : ''
}

/** Values with their units, for people. */
const valuesOf = (type: DeviceType, values: Values) =>
  Object.entries(values)
    .map(([name, value]) => `${name} ${value} ${unitOf(type, name)}`.trimEnd())
    .join('  ')

export class FleetView {
  /** A line for the last thing that the user did. */
  message = ''
  /** Lines below the picture, such as the keys. */
  footer: readonly string[] = []
  readonly #fleet: Fleet
  readonly #out: Terminal
  readonly #screen: Screen
  #samples: Sample[] = []
  #timer: NodeJS.Timeout | undefined
  #lastLine = ''

  constructor(fleet: Fleet, out: Terminal) {
    this.#fleet = fleet
    this.#out = out
    this.#screen = new Screen(out)
  }

  start(): void {
    const terminal = this.#out.isTTY === true
    const show = terminal ? () => this.draw() : () => this.#writeLine()
    show()
    this.#timer = setInterval(show, terminal ? frameMs : lineMs)
  }

  /** Removes the picture: the terminal belongs to others until the next `start`. */
  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#screen.clear()
  }

  draw(): void {
    this.#screen.draw(this.lines(this.#out.columns ?? 80))
  }

  /** The picture. @param width of the terminal, characters. */
  lines(width: number): string[] {
    const { statistics, devices, phase } = this.#fleet
    const { sent, acknowledged } = this.#rates()
    const waiting = devices.reduce((sum, device) => sum + device.waiting, 0)
    const p50 = statistics.latency(0.5)
    const p99 = statistics.latency(0.99)
    const facts: [string, string][] = [
      ['readings', `${statistics.sent} sent, ${statistics.acknowledged} acknowledged, ${waiting} waiting`],
      ['rate', `${sent.toFixed(1)}/s sent, ${acknowledged.toFixed(1)}/s acknowledged`],
    ]
    if (p50 !== undefined && p99 !== undefined)
      facts.push(['answers', `${Math.round(p50)} ms median, ${Math.round(p99)} ms for 99 %`])
    facts.push(['devices', counts(this.#statuses())])
    if (Object.keys(statistics.injected).length > 0) facts.push(['faults', counts(statistics.injected)])
    if (Object.keys(statistics.retries).length > 0) facts.push(['sent again', counts(statistics.retries)])
    if (statistics.commands + statistics.configurations > 0)
      facts.push(['received', `${statistics.commands} commands, ${statistics.configurations} configurations`])
    return [
      `${this.#time()}  ${this.#title()}`,
      bar(this.#share(), Math.max(10, Math.min(width - 2, 60))),
      ...columns(facts).map((line) => ` ${line}`),
      ...(phase === 'sending' ? ['', ...this.#types()] : []),
      ...(this.message === '' ? [] : ['', this.message]),
      ...this.footer,
    ]
  }

  #title(): string {
    const { phase, expected, options } = this.#fleet
    return `${phase}, ${plural(expected, 'device')} at ${options.url}`
  }

  #time(): string {
    const { phase, phaseSince, options, ready, expected } = this.#fleet
    const elapsed = (performance.now() - phaseSince) / 1000
    if (phase !== 'sending') return phase === 'delivering' ? clock(elapsed) : `${ready}/${expected}`
    return Number.isFinite(options.durationS)
      ? `${clock(elapsed)} of ${clock(options.durationS)}`
      : clock(elapsed)
  }

  #share(): number {
    const { phase, phaseSince, options, ready, expected } = this.#fleet
    if (phase === 'sending') {
      if (!Number.isFinite(options.durationS)) return 1
      return (performance.now() - phaseSince) / 1000 / options.durationS
    }
    return phase === 'delivering' ? 1 : ready / Math.max(1, expected)
  }

  #rates(): { sent: number; acknowledged: number } {
    const { sent, acknowledged } = this.#fleet.statistics
    const now = { atMs: performance.now(), sent, acknowledged }
    this.#samples = [...this.#samples.filter(({ atMs }) => now.atMs - atMs <= rateWindowMs), now]
    const [first = now] = this.#samples
    const seconds = (now.atMs - first.atMs) / 1000
    if (seconds === 0) return { sent: 0, acknowledged: 0 }
    return {
      sent: (now.sent - first.sent) / seconds,
      acknowledged: (now.acknowledged - first.acknowledged) / seconds,
    }
  }

  #statuses(): Record<string, number> {
    const found: Record<string, number> = {}
    for (const { status } of this.#fleet.devices) found[status] = (found[status] ?? 0) + 1
    return Object.fromEntries(
      statusNames.flatMap((name) => (found[name] === undefined ? [] : [[name, found[name]]])),
    )
  }

  /** One line for each type, with the last values of its first device. */
  #types(): string[] {
    const groups = new Map<DeviceType, SimulatedDevice[]>()
    for (const device of this.#fleet.devices) {
      const group = groups.get(device.type)
      if (group === undefined) groups.set(device.type, [device])
      else group.push(device)
    }
    return columns(
      [...groups].map(([type, group]) => [
        ` ${type.name}`,
        `${group.length} ×`,
        valuesOf(type, group.find(({ status }) => status === 'online')?.values ?? {}),
      ]),
    )
  }

  #writeLine(): void {
    const { statistics, phase } = this.#fleet
    const { sent } = this.#rates()
    const progress =
      phase === 'sending'
        ? `: ${statistics.sent} sent, ${statistics.acknowledged} acknowledged, ${sent.toFixed(1)}/s, ${counts(this.#statuses())}`
        : ''
    const line = `${phase} ${this.#time()}${progress}\n`
    if (line !== this.#lastLine) this.#out.write(line)
    this.#lastLine = line
  }
}
