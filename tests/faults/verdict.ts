/** After the faults: every acknowledged reading is looked for, once, with its exact values, and the accounts must balance. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Backend, mayNotMiss } from '../support/backends.ts'
import type { Device, Machine } from '../support/machine.ts'
import { type Book, countOf, type Recorder } from './recorder.ts'

export interface Verdict {
  readonly scenario: string
  readonly sent: number
  readonly acknowledged: number
  readonly stored: number
  readonly queued: number
  readonly rejected: number
  /** The same reading found twice. */
  readonly duplicates: number
  /** Acknowledged and not there, or there with other values. */
  readonly lost: number
  /** Found but never sent. */
  readonly invented: number
  /** received - stored - spooled - rejected - duplicates of the layer's own account. */
  readonly imbalance: number
  /** Points of one device that were taken out of the order of their times; only where that is looked at. */
  readonly disorder?: number
  /** What else was not as it has to be, a sentence each. */
  readonly failures: readonly string[]
}

/** A scenario that cannot be done on this machine. */
export interface LeftOut {
  readonly scenario: string
  readonly needs: Backend
}

export type Outcome = Verdict | LeftOut

export const isLeftOut = (outcome: Outcome): outcome is LeftOut => 'needs' in outcome

type Values = Readonly<Record<string, number>>

/** What the layer gives back of a device, oldest first. */
export async function readAll(machine: Machine, device: Device): Promise<[time: string, values: Values][]> {
  const found: [string, Values][] = []
  let cursor = ''
  do {
    const query = `start_time=-7d&end_time=2099-01-01T00:00:00Z&limit=10000&order=asc&cursor=${cursor}`
    const { status, body } = await machine.request('GET', `/api/v1/telemetry/${device.id}?${query}`)
    if (status !== 200) throw new Error(`history answered ${status}`)
    for (const { timestamp, metadata: _metadata, ...values } of body.data) found.push([timestamp, values])
    cursor = body.next_cursor ?? ''
  } while (cursor !== '')
  return found
}

/** The layer's own account of all devices, and what waits. */
export async function accountOf(machine: Machine) {
  const { body } = await machine.request('GET', '/api/v1/telemetry/status')
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

/** Resolves when nothing waits any more. @throws {Error} when that takes too long. */
export async function drained(machine: Machine, ms: number): Promise<number> {
  const began = performance.now()
  for (;;) {
    const { depth } = await accountOf(machine)
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
  /** What is stored of each device; read from the layer unless given. */
  readonly found?: Map<number, [time: string, values: Values][]> | undefined
  /** What else was not as it has to be. */
  readonly failures?: readonly string[]
  /** A broker in between may deliver a message twice, which the recorder does not see. */
  readonly redelivered?: boolean
}

export async function judge(
  scenario: string,
  machine: Machine,
  devices: readonly Device[],
  recorder: Recorder,
  { found, failures: others = [], redelivered = false }: JudgeOptions = {},
): Promise<Verdict> {
  let [stored, duplicates, lost, invented] = [0, 0, 0, 0]
  for (const device of devices) {
    const readings =
      found?.get(device.id) ??
      (await readAll(machine, device)).map(([time, values]): [string, Values] => [isoToNs(time), values])
    const there = new Map(readings)
    stored += readings.length
    duplicates += readings.length - new Set(readings.map(([, { n }]) => n)).size
    const [sent, acknowledged] = [recorder.sent, recorder.acknowledged].map((book: Book) =>
      book.get(device.id),
    )
    for (const [time, values] of acknowledged ?? []) if (!same(values, there.get(time))) lost += 1
    for (const [time, values] of there) if (!same(values, sent?.get(time))) invented += 1
  }
  const account = await accountOf(machine)
  // A reading with a time of its own that came twice is one reading, and may have been counted twice.
  const most = redelivered ? Number.POSITIVE_INFINITY : stored + recorder.repeats()
  const failures = [...others]
  if (account.stored > most || account.stored + account.spooled < stored)
    failures.push(
      `the account says ${account.stored} stored and ${account.spooled} spooled, found are ${stored}, ` +
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

/** As lines of a table; a dash where a figure is not. */
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

/** @returns why this is not as it has to be, a sentence each. */
export const faultsOf = (outcome: Outcome): readonly string[] => {
  if (isLeftOut(outcome))
    return mayNotMiss(outcome.needs) ? [`REQUIRE_BACKENDS asks for ${outcome.needs}, which is not here`] : []
  const mustBeNothing = ['duplicates', 'lost', 'invented', 'imbalance'] as const
  const wrong = mustBeNothing.filter((name) => outcome[name] !== 0)
  return [...wrong.map((name) => `${name} is ${outcome[name]}`), ...outcome.failures]
}
