/** Checks after a scenario: every acknowledged reading is stored once with its exact values, and the accounts balance. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Backend, mayNotMiss } from '../support/backends.ts'
import type { Device, StandaloneServer } from '../support/standalone.ts'
import { type Book, countOf, type Recorder } from './recorder.ts'

export interface Verdict {
  readonly scenario: string
  readonly sent: number
  readonly acknowledged: number
  readonly stored: number
  readonly queued: number
  readonly rejected: number
  /** Readings that were found twice. */
  readonly duplicates: number
  /** Acknowledged readings that are missing or have other values. */
  readonly lost: number
  /** Missing readings that `JudgeOptions.isLostByBroker` names; they are not in `lost`. */
  readonly lostByBroker: number
  /** Readings that were found but never sent. */
  readonly invented: number
  /** received - stored - spooled - rejected - duplicates, from the account of the server. */
  readonly imbalance: number
  /** Points of one device that InfluxDB got out of order; undefined where this is not measured. */
  readonly disorder?: number
  /** Other failures, one sentence each. */
  readonly failures: readonly string[]
}

/** A scenario that this machine cannot run. */
export interface LeftOut {
  readonly scenario: string
  readonly needs: Backend
}

export type Outcome = Verdict | LeftOut

export const isLeftOut = (outcome: Outcome): outcome is LeftOut => 'needs' in outcome

type Values = Readonly<Record<string, number>>

/** The readings of a device that the server answers with, oldest first. */
export async function readAll(
  server: StandaloneServer,
  device: Device,
): Promise<[time: string, values: Values][]> {
  const found: [string, Values][] = []
  let cursor = ''
  do {
    const query = `start_time=-7d&end_time=2099-01-01T00:00:00Z&limit=10000&order=asc&cursor=${cursor}`
    const { status, body } = await server.request('GET', `/api/v1/telemetry/${device.id}?${query}`)
    if (status !== 200) throw new Error(`history answered ${status}`)
    for (const { timestamp, metadata: _metadata, ...values } of body.data) found.push([timestamp, values])
    cursor = body.next_cursor ?? ''
  } while (cursor !== '')
  return found
}

/** The account of all devices, and the depth of the spool. */
export async function accountOf(server: StandaloneServer) {
  const { body } = await server.request('GET', '/api/v1/telemetry/status')
  const { received, stored, spooled, rejected, duplicates } = body.accounting
  return {
    received,
    stored,
    spooled,
    rejected,
    duplicates,
    depth: body.spool?.depth ?? 0,
    imbalance: received - stored - spooled - rejected - duplicates,
  }
}

/** Resolves when the spool is empty. @throws {Error} when that takes too long. */
export async function drained(server: StandaloneServer, ms: number): Promise<number> {
  const began = performance.now()
  for (;;) {
    const { depth } = await accountOf(server)
    if (depth === 0) return (performance.now() - began) / 1000
    if (performance.now() - began > ms) throw new Error(`${depth} readings still wait after ${ms} ms`)
    await sleep(100)
  }
}

const same = (one: Values, other: Values | undefined) =>
  other !== undefined && JSON.stringify(one) === JSON.stringify(other)

const isoToNs = (time: string) => {
  const [, seconds = '', fraction = ''] = /^(.*?)(?:\.(\d+))?Z$/.exec(time) ?? []
  return String(BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, '0')))
}

export interface JudgeOptions {
  /** The stored readings of each device; by default the server is asked for them. */
  readonly found?: Map<number, [time: string, values: Values][]> | undefined
  /** Other failures of the scenario. */
  readonly failures?: readonly string[]
  /** True with a separate broker: it may deliver a message twice, which the recorder does not see. */
  readonly redelivered?: boolean
  /** True for an acknowledged reading that a separate broker may lose; `at` is the time of its acknowledgement (`performance.now()`). */
  readonly isLostByBroker?: (at: number) => boolean
}

export async function judge(
  scenario: string,
  server: StandaloneServer,
  devices: readonly Device[],
  recorder: Recorder,
  { found, failures: others = [], redelivered = false, isLostByBroker = () => false }: JudgeOptions = {},
): Promise<Verdict> {
  let [stored, duplicates, lost, lostByBroker, invented] = [0, 0, 0, 0, 0]
  for (const device of devices) {
    const readings =
      found?.get(device.id) ??
      (await readAll(server, device)).map(([time, values]): [string, Values] => [isoToNs(time), values])
    const there = new Map(readings)
    stored += readings.length
    duplicates += readings.length - new Set(readings.map(([, { n }]) => n)).size
    const [sent, acknowledged] = [recorder.sent, recorder.acknowledged].map((book: Book) =>
      book.get(device.id),
    )
    for (const [time, values] of acknowledged ?? []) {
      if (same(values, there.get(time))) continue
      const at = recorder.acknowledgedAt(device.id, time)
      if (at !== undefined && !there.has(time) && isLostByBroker(at)) lostByBroker += 1
      else lost += 1
    }
    for (const [time, values] of there) if (!same(values, sent?.get(time))) invented += 1
  }
  const account = await accountOf(server)
  // A reading with its own time that arrives twice is stored once, but may be counted twice.
  const most = redelivered ? Number.POSITIVE_INFINITY : stored + recorder.repeats()
  const failures = [...others]
  if (account.stored > most || account.stored + account.spooled < stored)
    failures.push(
      `the account says ${account.stored} stored and ${account.spooled} spooled, ${stored} were found, ` +
        `${recorder.repeats()} came again`,
    )
  return {
    scenario,
    sent: countOf(recorder.sent),
    acknowledged: countOf(recorder.acknowledged),
    stored,
    queued: account.spooled,
    rejected: account.rejected,
    duplicates,
    lost,
    lostByBroker,
    invented,
    imbalance: account.imbalance,
    failures,
  }
}

const columns = [
  'sent',
  'acknowledged',
  'stored',
  'queued',
  'rejected',
  'duplicates',
  'lost',
  'invented',
  'imbalance',
  'disorder',
] as const

/** Makes a table; a dash stands for a figure that was not measured. */
export const tableOf = (outcomes: readonly Outcome[]): string => {
  const width = Math.max(10, ...outcomes.map(({ scenario }) => scenario.length))
  const row = (name: string, cells: readonly string[]) =>
    `${name.padEnd(width)} ${cells.map((cell, at) => cell.padStart(columns[at]?.length ?? 0)).join('  ')}\n`
  return (
    row('', columns) +
    outcomes
      .map((one) =>
        isLeftOut(one)
          ? row(one.scenario, [`LEFT OUT: there is no ${one.needs}`])
          : row(
              one.scenario,
              columns.map((name) => String(one[name] ?? '-')),
            ),
      )
      .join('')
  )
}

/** @returns the failures of this outcome, one sentence each. */
export const faultsOf = (outcome: Outcome): readonly string[] => {
  if (isLeftOut(outcome))
    return mayNotMiss(outcome.needs) ? [`REQUIRE_BACKENDS asks for ${outcome.needs}, which is not here`] : []
  const mustBeNothing = ['duplicates', 'lost', 'invented', 'imbalance'] as const
  const wrong = mustBeNothing.filter((name) => outcome[name] !== 0)
  return [...wrong.map((name) => `${name} is ${outcome[name]}`), ...outcome.failures]
}
