/** The truth about a run: what was sent and acknowledged, and what the server answers when it is asked. */
import type { SimulatedDevice } from './device.ts'
import { inParallel } from './enrolment.ts'
import type { HttpClient } from './http-client.ts'
import type { ProcessUsage } from './process-usage.ts'
import { type Comparison, compare, type Fault, readBack } from './readback.ts'
import type { Statistics } from './statistics.ts'
import type { TimerQueue } from './timer-queue.ts'
import type { Protocol } from './uplink.ts'

export interface Counts {
  /** Readings that the device sent at least once. */
  readonly sent: number
  readonly acknowledged: number
  /** Sent readings that a query answered. */
  readonly found: number
  /** Acknowledged readings that were not among them. */
  readonly missing: number
  /** Readings that a query answered more than once. */
  readonly duplicated: number
  /** Acknowledged readings that came back with another time or value, or a field more or less. */
  readonly altered: number
  /** Stored readings of this run that the device never sent. */
  readonly unexpected: number
  /** Acknowledged readings that only a later query found. */
  readonly late: number
}

export interface DeviceReport extends Counts {
  readonly id: number
  readonly name: string
  readonly type: string
  readonly protocol: Protocol
}

export interface Summary {
  /** There were acknowledged readings, and each came back once, exactly as it was sent. */
  readonly ok: boolean
  /** Stands in the metadata of each reading. */
  readonly run: string
  /** How long the devices sent. */
  readonly seconds: number
  readonly devices: readonly DeviceReport[]
  readonly total: Counts
  readonly retries: Readonly<Record<string, number>>
  /** Why readings were not acknowledged, and how many for each reason. */
  readonly unacknowledged: Readonly<Record<string, number>>
  /** The faults that the simulator made on purpose. */
  readonly injected: Readonly<Record<string, number>>
  readonly commands: number
  readonly configurations: number
  readonly heartbeats: number
  /** Percentiles of the last answer times, ms; null when nothing was acknowledged. */
  readonly latency_ms: { readonly p50: number | null; readonly p99: number | null }
  /** What this process needed while the devices sent, and what the server did when it is on this computer. */
  readonly simulator: ProcessUsage
  readonly server?: ProcessUsage | undefined
  /** The first missing, duplicated and altered readings, one sentence each. */
  readonly faults: readonly string[]
}

export interface SummaryOptions {
  readonly url: string
  readonly run: string
  readonly seconds: number
  readonly statistics: Statistics
  readonly usage: Pick<Summary, 'simulator' | 'server'>
  readonly timers: TimerQueue
  readonly client: HttpClient
  readonly settleMs?: number | undefined
  readonly pageSize?: number | undefined
  /** Called for each device that was read back. */
  onVerified(): void
}

const readPatienceMs = 180_000
/** Together with the pauses between them this is about 10 s. */
const maxLostReads = 5
const defaultSettleMs = 15_000
const shownFaults = 10

const noCounts = {
  sent: 0,
  acknowledged: 0,
  found: 0,
  missing: 0,
  duplicated: 0,
  altered: 0,
  unexpected: 0,
  late: 0,
}

export const sum = (reports: readonly Counts[]): Counts => {
  const total = { ...noCounts }
  for (const report of reports) {
    for (const name of Object.keys(total) as (keyof Counts)[]) total[name] += report[name]
  }
  return total
}

const countOf = (faults: readonly Fault[], kind: Fault['kind']) =>
  faults.filter((fault) => fault.kind === kind).length

/** The earliest time that the server may have stored a reading of the device at. */
const earliest = ({ journal, clockErrorMs }: SimulatedDevice): string => {
  const first = journal.entry(0)?.at ?? Date.now()
  // A clock that is less than the retention behind is believed.
  const behind = clockErrorMs < 0 && clockErrorMs > -first / 2 ? clockErrorMs : 0
  return new Date(first + behind).toISOString()
}

/** Reads one device back. It repeats this when readings are missing, because some stores show a write only later. */
async function verify(
  device: SimulatedDevice,
  options: SummaryOptions,
): Promise<Comparison & { late: number }> {
  const { url, run, client, timers, pageSize, settleMs = defaultSettleMs } = options
  const { journal, identity, clockErrorMs } = device
  const deadline = timers.now() + readPatienceMs
  const patience = { over: () => timers.now() > deadline, maxLost: maxLostReads }
  let atFirst: number | undefined
  for (let waitMs = 250, waitedMs = 0; ; waitMs *= 2) {
    const from = earliest(device)
    const stored = await readBack(client, { url, device: identity, from, pageSize }, patience)
    const comparison = compare({ journal, run, clockErrorMs }, stored)
    const missing = countOf(comparison.faults, 'missing')
    atFirst ??= missing
    if (missing === 0 || waitedMs >= settleMs) return { ...comparison, late: Math.max(0, atFirst - missing) }
    const next = Math.min(waitMs, settleMs - waitedMs)
    await timers.pause(next)
    waitedMs += next
  }
}

const reportOf = async (
  device: SimulatedDevice,
  options: SummaryOptions,
  sentences: string[],
): Promise<DeviceReport> => {
  const { identity, type, protocol, journal } = device
  const sent = journal.length - journal.count('waiting')
  const { found, faults, unexpected, late } =
    sent === 0 ? { found: 0, faults: [], unexpected: 0, late: 0 } : await verify(device, options)
  options.onVerified()
  for (const { timestamp, what } of faults) {
    if (sentences.length < shownFaults) sentences.push(`${identity.name}, reading of ${timestamp}: ${what}`)
  }
  return {
    id: identity.id,
    name: identity.name,
    type: type.name,
    protocol,
    sent,
    acknowledged: journal.count('acknowledged'),
    found,
    missing: countOf(faults, 'missing'),
    duplicated: countOf(faults, 'duplicated'),
    altered: countOf(faults, 'altered'),
    unexpected,
    late,
  }
}

/**
 * Reads every device back and builds the summary.
 * @throws {SimulationError} when the server cannot be read back.
 */
export async function summarize(
  devices: readonly SimulatedDevice[],
  options: SummaryOptions,
): Promise<Summary> {
  const { run, seconds, statistics } = options
  const faults: string[] = []
  const reports = await inParallel(devices, (device) => reportOf(device, options, faults))
  const total = sum(reports)
  const rounded = (ms: number | undefined) => (ms === undefined ? null : Math.round(ms * 10) / 10)
  return {
    ok: total.acknowledged > 0 && total.missing + total.duplicated + total.altered === 0,
    run,
    seconds: Math.round(seconds * 10) / 10,
    devices: reports,
    total,
    retries: statistics.retries,
    unacknowledged: statistics.unacknowledged,
    injected: statistics.injected,
    commands: statistics.commands,
    configurations: statistics.configurations,
    heartbeats: statistics.heartbeats,
    latency_ms: { p50: rounded(statistics.latency(0.5)), p99: rounded(statistics.latency(0.99)) },
    ...options.usage,
    faults,
  }
}
