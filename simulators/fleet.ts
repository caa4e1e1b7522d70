/**
 * A fleet of simulated devices: they register, send side by side, and afterwards every acknowledged reading is read
 * back and compared. What counts is the acknowledgement: a reading without one may be stored or not.
 */
import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import {
  httpUplink,
  type Identity,
  mqttUplink,
  type Protocol,
  registerDevice,
  type SentReading,
  type Uplink,
} from './device.ts'
import { compare, type Fault, readBack } from './readback.ts'
import { type Patience, pause, type RetryReason } from './request.ts'
import { createClock, createSensor, type Random } from './sensor.ts'

export interface FleetOptions {
  /** Base URL of the layer, without a slash at its end. */
  readonly url: string
  readonly mqttUrl: string
  /** `both`: the first half of the devices over HTTP, the others over MQTT. */
  readonly protocol: Protocol | 'both'
  /** How many devices, from 1. */
  readonly devices: number
  /** How long they send, seconds. */
  readonly durationS: number
  /** Readings per second and device. */
  readonly rate: number
  readonly enrollmentKey?: string | undefined
  /** Aborted: no more readings are sent; those that were are still checked. */
  readonly signal?: AbortSignal
  readonly random?: Random
  /** How long an acknowledged reading may take to become readable, ms. */
  readonly settleMs?: number
  /** Readings per page when reading back. */
  readonly pageSize?: number
  onProgress?(progress: Progress): void
}

export interface Progress {
  readonly phase: 'registering' | 'sending' | 'reading back'
  /** Since the phase began. */
  readonly elapsedS: number
  readonly sent: number
  readonly acknowledged: number
}

export interface Counts {
  /** Readings that the device tried to send. */
  readonly sent: number
  readonly acknowledged: number
  /** Readings that the layer gave back. */
  readonly stored: number
  /** Acknowledged readings that were not among them. */
  readonly missing: number
  /** Acknowledged readings that came back with another value, or a field more or less. */
  readonly altered: number
  /** Stored readings that the device never sent. */
  readonly unexpected: number
  /** Acknowledged readings that could not be read at the first look, but soon after. */
  readonly late: number
}

export interface DeviceReport extends Counts {
  readonly id: number
  readonly name: string
  readonly protocol: Protocol
}

export interface Summary {
  /** Every acknowledged reading came back exactly as it was sent, and there was at least one. */
  readonly ok: boolean
  /** Part of each device's name. */
  readonly run: string
  /** How long the devices sent. */
  readonly seconds: number
  readonly devices: readonly DeviceReport[]
  readonly total: Counts
  readonly retries: Readonly<Partial<Record<RetryReason, number>>>
  /** Why readings were not acknowledged, and how many for each reason. */
  readonly unacknowledged: Readonly<Record<string, number>>
  /** The first of the missing and altered readings, a sentence each. */
  readonly faults: readonly string[]
}

/** What a reading under way gets when the sending ends. */
const drainMs = 10_000
const registerPatienceMs = 120_000
const readPatienceMs = 120_000
/** With the pauses between them about 10 s. */
const maxLostReads = 5
const defaultSettleMs = 5000
/** Devices that register, or are read back, at one time. */
const width = 16
const shownFaults = 10
const progressMs = 250

interface Member {
  readonly device: Identity
  readonly protocol: Protocol
  readonly uplink: Uplink
  readonly acknowledged: SentReading[]
  readonly unacknowledged: SentReading[]
}

/** What is counted over all devices while they run. */
interface Tally {
  sent: number
  acknowledged: number
  readonly retries: Partial<Record<RetryReason, number>>
  readonly unacknowledged: Record<string, number>
}

async function inParallel<T, R>(items: readonly T[], work: (item: T, index: number) => Promise<R>) {
  const results: R[] = []
  let next = 0
  const worker = async () => {
    for (let index = next++; index < items.length; index = next++) {
      results[index] = await work(items[index] as T, index)
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker))
  return results
}

/** The first half, the larger one when they are odd, sends over HTTP. */
const protocolOf = ({ protocol, devices }: FleetOptions, index: number): Protocol => {
  if (protocol !== 'both') return protocol
  return index < Math.ceil(devices / 2) ? 'http' : 'mqtt'
}

const sum = (reports: readonly Counts[]): Counts => {
  const total = { sent: 0, acknowledged: 0, stored: 0, missing: 0, altered: 0, unexpected: 0, late: 0 }
  for (const report of reports) {
    for (const name of Object.keys(total) as (keyof Counts)[]) total[name] += report[name]
  }
  return total
}

/** Reads one device back, again for a while when something is missing: not every storage shows at once what it took. */
async function verify(
  { device, acknowledged, unacknowledged }: Member,
  options: FleetOptions,
  from: string,
): Promise<Omit<Counts, 'sent' | 'acknowledged'> & { faults: readonly Fault[] }> {
  const { url, pageSize, settleMs = defaultSettleMs } = options
  const patience: Patience = { signal: AbortSignal.timeout(readPatienceMs), maxLost: maxLostReads }
  let atFirst: number | undefined
  for (let waitMs = 250, waitedMs = 0; ; waitMs *= 2) {
    const stored = await readBack({ url, device, from, pageSize }, patience)
    const { faults, unexpected } = compare(acknowledged, stored, unacknowledged)
    const missing = faults.filter(({ kind }) => kind === 'missing').length
    atFirst ??= missing
    if (missing === 0 || waitedMs >= settleMs) {
      return {
        stored: stored.length,
        missing,
        altered: faults.length - missing,
        unexpected,
        late: Math.max(0, atFirst - missing),
        faults,
      }
    }
    const next = Math.min(waitMs, settleMs - waitedMs)
    await pause(next, patience.signal)
    waitedMs += next
  }
}

interface Sending {
  /** Of `performance.now()`, as the other times here. */
  readonly startMs: number
  readonly endMs: number
  readonly intervalMs: number
  readonly random: Random
  readonly tally: Tally
  /** Aborted: nothing more is sent. */
  readonly stop: AbortSignal
  /** Aborted: what is under way is not waited for any longer. */
  readonly giveUp: AbortSignal
}

/** The life of one device: measure, send, wait for the acknowledgement, wait for the next time. */
async function send(member: Member, sending: Sending): Promise<void> {
  const { startMs, endMs, intervalMs, random, tally, stop, giveUp } = sending
  const measure = createSensor(random)
  const clock = createClock()
  const patience: Patience = {
    signal: giveUp,
    onRetry: (reason) => {
      tally.retries[reason] = (tally.retries[reason] ?? 0) + 1
    },
  }
  for (let due = startMs; due < endMs; ) {
    await pause(due - performance.now(), stop)
    if (stop.aborted) return
    const reading: SentReading = { timestamp: new Date(clock()).toISOString(), values: measure() }
    tally.sent++
    const delivery = await member.uplink.send(reading, patience)
    if (delivery.acknowledged) {
      tally.acknowledged++
      member.acknowledged.push(reading)
    } else {
      member.unacknowledged.push(reading)
      tally.unacknowledged[delivery.reason] = (tally.unacknowledged[delivery.reason] ?? 0) + 1
    }
    // A device that was held up goes on from now; it does not make up for what it could not measure.
    due = Math.max(due + intervalMs, performance.now())
  }
}

/**
 * Registers and connects every device. After the signal those that are not ready yet are left out.
 * @param members receives each device as soon as it is there, so that the caller can end them all.
 * @throws {SimulationError} when a device cannot be registered or connected.
 */
async function joinAll(
  options: FleetOptions,
  run: string,
  members: Member[],
  stop: AbortSignal,
): Promise<void> {
  const { url, mqttUrl, enrollmentKey } = options
  const failed = new AbortController()
  const join = async (index: number) => {
    const signal = AbortSignal.any([AbortSignal.timeout(registerPatienceMs), stop, failed.signal])
    if (signal.aborted) return
    const protocol = protocolOf(options, index)
    const name = `sim-${run}-${index + 1}`
    try {
      const device = await registerDevice({ url, name, enrollmentKey }, signal)
      const uplink =
        protocol === 'http'
          ? httpUplink({ url, apiKey: device.apiKey })
          : await mqttUplink({ url: mqttUrl, device }, signal)
      members[index] = { device, protocol, uplink, acknowledged: [], unacknowledged: [] }
    } catch (error) {
      if (!stop.aborted) failed.abort(error)
    }
  }
  const indexes = Array.from({ length: options.devices }, (_, index) => index)
  await inParallel(indexes, join)
  failed.signal.throwIfAborted()
}

/** Reads every device back and puts the summary together. */
async function report(
  members: readonly Member[],
  options: FleetOptions,
  { run, from, seconds, tally }: { run: string; from: string; seconds: number; tally: Tally },
): Promise<Summary> {
  const faults: string[] = []
  const devices = await inParallel(members, async (member): Promise<DeviceReport> => {
    const { faults: found, ...counts } = await verify(member, options, from)
    const { device, protocol, acknowledged, unacknowledged } = member
    const { id, name } = device
    for (const { timestamp, what } of found) {
      if (faults.length < shownFaults) faults.push(`${name}, reading of ${timestamp}: ${what}`)
    }
    const sent = acknowledged.length + unacknowledged.length
    return { id, name, protocol, sent, acknowledged: acknowledged.length, ...counts }
  })
  const total = sum(devices)
  return {
    ok: total.acknowledged > 0 && total.missing === 0 && total.altered === 0,
    run,
    seconds: Math.round(seconds * 10) / 10,
    devices,
    total,
    retries: tally.retries,
    unacknowledged: tally.unacknowledged,
    faults,
  }
}

/**
 * Runs a fleet to its end.
 * @throws {SimulationError} when the layer cannot be reached, refuses a device, or cannot be read back.
 */
export async function runFleet(options: FleetOptions): Promise<Summary> {
  const { durationS, rate, random = Math.random, signal, onProgress } = options
  const run = randomBytes(3).toString('hex')
  const from = new Date().toISOString()
  const tally: Tally = { sent: 0, acknowledged: 0, retries: {}, unacknowledged: {} }
  const members: Member[] = []
  const leave = () => Promise.all(members.map((member) => member?.uplink.close()))

  const stop = new AbortController()
  const giveUp = new AbortController()
  setMaxListeners(0, stop.signal, giveUp.signal)
  let drain: NodeJS.Timeout | undefined
  const end = () => {
    drain ??= setTimeout(() => giveUp.abort(), drainMs)
    stop.abort()
  }
  if (signal?.aborted) end()
  signal?.addEventListener('abort', end)

  let phase: Progress['phase'] = 'registering'
  let phaseSince = performance.now()
  const tell = () => {
    const elapsedS = (performance.now() - phaseSince) / 1000
    onProgress?.({ phase, elapsedS, sent: tally.sent, acknowledged: tally.acknowledged })
  }
  const enter = (next: Progress['phase']) => {
    phase = next
    phaseSince = performance.now()
    tell()
  }
  const ticking = setInterval(tell, progressMs)
  let ending: NodeJS.Timeout | undefined

  try {
    await joinAll(options, run, members, stop.signal)
    const joined = members.filter((member) => member !== undefined)

    enter('sending')
    ending = setTimeout(end, durationS * 1000)
    const since = phaseSince
    const intervalMs = 1000 / rate
    await Promise.all(
      joined.map((member, index) =>
        send(member, {
          // Spread over the interval, so that they do not all come at once.
          startMs: since + (index * intervalMs) / joined.length,
          endMs: since + durationS * 1000,
          intervalMs,
          random,
          tally,
          stop: stop.signal,
          giveUp: giveUp.signal,
        }),
      ),
    )
    const seconds = (performance.now() - since) / 1000
    await leave()

    enter('reading back')
    return await report(joined, options, { run, from, seconds, tally })
  } finally {
    signal?.removeEventListener('abort', end)
    clearTimeout(ending)
    clearTimeout(drain)
    clearInterval(ticking)
    await leave()
  }
}
