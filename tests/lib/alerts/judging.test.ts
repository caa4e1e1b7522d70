/** Readings against alert rules: whatever comes in whichever order, alerts are those of a simple model, each told once. */
import { join } from 'node:path'
import { createClient } from '@libsql/client'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import type { Alert } from '../../../lib/alerts/alert.ts'
import { AlertRules } from '../../../lib/alerts/alert-rules.ts'
import { Alerts } from '../../../lib/alerts/alerts.ts'
import type { NewRule } from '../../../lib/alerts/rule.ts'
import { AppError } from '../../../lib/errors.ts'
import { createLog } from '../../../lib/log.ts'
import { type Embedded, openEmbedded } from '../../../lib/telemetry/embedded/open.ts'
import { prepareServer } from '../../../lib/telemetry/embedded/writer.ts'
import { openInfluxStore } from '../../../lib/telemetry/influx/store.ts'
import { Intake } from '../../../lib/telemetry/intake/intake.ts'
import { SpoolDrain } from '../../../lib/telemetry/intake/spool-drain.ts'
import { StoreWriter } from '../../../lib/telemetry/intake/store-writer.ts'
import { AlertModel, type ModelRule, shown } from '../../support/alert-model.ts'
import { answer, startInfluxServer } from '../../support/influx-server.ts'
import { describeWithSqld, type Sqld, startSqld } from '../../support/sqld.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const log = createLog('silent')
const base = 1_700_000_000_000_000_000n
const arrival = 1_700_000_600_000

/** A process that takes readings, and its alerts. */
interface Process {
  readonly intake: Intake
  readonly alerts: Alerts
  readonly rules: AlertRules
}

interface System {
  readonly processes: readonly Process[]
  /** Makes the store elsewhere unavailable, or available again. */
  setAvailable?(isAvailable: boolean): void
  end(): Promise<void>
}

/** The clock of the changes by operators: behind all readings. */
let now = arrival

const processOf = (embedded: Embedded, intakeOf: (rules: AlertRules) => Intake): Process => {
  const rules = new AlertRules({ database: embedded.database, log, background: true })
  const alerts = new Alerts({ database: embedded.database, now: () => now })
  return { intake: intakeOf(rules), alerts, rules }
}

const storing = (embedded: Embedded): Process =>
  processOf(
    embedded,
    (sampler) =>
      new Intake({ writer: embedded.writer, ledger: embedded.ledger, retentionMs: 0, log, sampler }),
  )

const onFile = (processes: number) => async (): Promise<System> => {
  const folder = await temporaryFolder()
  const open = () => openEmbedded({ at: { file: join(folder.path, 'telemetry.db') }, log, retentionMs: 0 })
  const opened = [await open()]
  while (opened.length < processes) opened.push(await open())
  return {
    processes: opened.map(storing),
    async end() {
      await Promise.all(opened.map((one) => one.close()))
      await folder.remove()
    },
  }
}

const alertTables = ['alert_rules', 'alert_states', 'alerts', 'alert_notes', 'alert_events', 'seen']

const onServer = (sqld: () => Sqld) => async (): Promise<System> => {
  const client = createClient({ url: sqld().url })
  await client.batch(
    alertTables.map((name) => `DELETE FROM ${name}`),
    'write',
  )
  client.close()
  const open = () => openEmbedded({ at: { url: sqld().url, authToken: undefined }, log, retentionMs: 0 })
  const both = [await open(), await open()]
  return {
    processes: both.map(storing),
    async end() {
      await Promise.all(both.map((one) => one.close()))
    },
  }
}

const besideInflux = async (): Promise<System> => {
  const folder = await temporaryFolder()
  const server = await startInfluxServer()
  const embedded = await openEmbedded({ at: { file: join(folder.path, 'ledger.db') }, log, retentionMs: 0 })
  const connection = { url: server.url, token: 'token', org: 'org', bucket: 'bucket' }
  const store = openInfluxStore({ connection, log })
  const keepDeadLetter = () => Promise.reject(new Error('nothing is refused here'))
  const { ledger } = embedded
  const process = processOf(embedded, (sampler) => {
    const writer = new StoreWriter({ store, ledger, keepDeadLetter, patienceMs: 60_000 })
    const spool = embedded.spool({ maxBytes: 1e9, maxAgeMs: 1e12 })
    const drain = new SpoolDrain({
      spool,
      store,
      keepDeadLetter,
      log,
      writesEnded: () => writer.writesEnded(),
      retryMs: { first: 5, longest: 20 },
    })
    return new Intake({ writer, ledger, retentionMs: 0, log, sampler, spool, drain })
  })
  return {
    processes: [process],
    setAvailable: (isAvailable) => server.reply('/api/v2/write', answer(isAvailable ? 204 : 503)),
    async end() {
      await process.intake.close()
      await Promise.all([embedded.close(), store.close()])
      await server.end()
      await folder.remove()
    },
  }
}

const ruleArbitrary: fc.Arbitrary<ModelRule> = fc.record({
  field: fc.constantFrom('a', 'b'),
  above: fc.constantFrom(1, 2),
  back: fc.constantFrom(0, 1),
  forS: fc.constantFrom(0, 0, 2, 5),
  clearForS: fc.constantFrom(0, 0, 2, 5),
  enabled: fc.constantFrom(true, true, true, false),
  device: fc.constantFrom(undefined, 1, 2),
})

const readingArbitrary = fc.record({
  s: fc.nat(20),
  ns: fc.nat(1),
  values: fc.record({ a: fc.nat(3), b: fc.nat(3) }, { requiredKeys: [] }),
  id: fc.constantFrom(undefined, undefined, 'm1', 'm2'),
})

const stepArbitrary = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      by: fc.nat(1),
      device: fc.integer({ min: 1, max: 3 }),
      readings: fc.array(readingArbitrary, { minLength: 1, maxLength: 4 }),
      requestKey: fc.constantFrom(undefined, undefined, undefined, 'r1'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ by: fc.nat(1), create: ruleArbitrary }) },
  { weight: 1, arbitrary: fc.record({ by: fc.nat(1), at: fc.nat(), change: ruleArbitrary }) },
  { weight: 1, arbitrary: fc.record({ by: fc.nat(1), remove: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ by: fc.nat(1), tickS: fc.nat(30) }) },
  { weight: 1, arbitrary: fc.record({ by: fc.nat(1), clear: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ by: fc.nat(1), ask: fc.option(fc.integer({ min: 1, max: 3 })) }) },
  { weight: 1, arbitrary: fc.record({ by: fc.nat(1), moveEvents: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 1, arbitrary: fc.record({ available: fc.boolean() }) },
)
type Step = typeof stepArbitrary extends fc.Arbitrary<infer T> ? T : never

const toRule = ({ field, above, back, forS, clearForS, enabled, device }: ModelRule): NewRule => ({
  name: `${field} above ${above}`,
  enabled,
  severity: 'warning',
  target: device === undefined ? {} : { device_id: device },
  condition: {
    kind: 'threshold',
    field,
    op: '>',
    value: above,
    ...(back < above && { clear_value: back }),
    ...(forS > 0 && { for: `${forS}s` }),
    ...(clearForS > 0 && { clear_for: `${clearForS}s` }),
  },
})

const seen = (alert: Alert): string =>
  shown({
    rule: alert.ruleId,
    revision: alert.revision,
    device: alert.deviceId,
    openedAt: alert.openedAt,
    openedValue: alert.openedValue as number,
    lastValue: alert.lastValue as number | null,
    clearedAt: alert.clearedAt,
    reason: alert.clearReason,
  })

/** What the keys of readings make of a message: the readings that are new. */
class KnownKeys {
  readonly #readings = new Set<string>()
  readonly #requests = new Map<string, string>()

  /** Undefined where the request's key came with another body before. */
  take(
    device: number,
    requestKey: string | undefined,
    body: string,
    readings: readonly { ts: bigint; id: string | undefined; fields: Record<string, number> }[],
  ) {
    if (requestKey !== undefined) {
      const key = `${device} ${requestKey}`
      const before = this.#requests.get(key)
      if (before !== undefined && before !== body) return undefined
      this.#requests.set(key, body)
    }
    return readings.filter(({ ts, id, fields }, at) => {
      const key =
        id === undefined
          ? requestKey && `${device} request ${requestKey} ${at}`
          : `${device} id ${id} ${ts} ${JSON.stringify(fields)}`
      if (key === undefined) return true
      if (this.#readings.has(key)) return false
      this.#readings.add(key)
      return true
    })
  }
}

class Run {
  readonly #system: System
  readonly #model = new AlertModel()
  readonly #keys = new KnownKeys()
  readonly #rules: number[] = []
  readonly #moved: string[] = []

  constructor(system: System) {
    this.#system = system
  }

  #process(by: number): Process {
    return this.#system.processes[by % this.#system.processes.length] as Process
  }

  async step(step: Step): Promise<void> {
    if ('available' in step) return this.#system.setAvailable?.(step.available)
    const { alerts } = this.#process(step.by)
    if ('readings' in step) return this.#send(step)
    if ('tickS' in step) {
      const at = base / 1_000_000n + BigInt(step.tickS) * 1000n
      await alerts.tick(Number(at))
      this.#model.tick(at * 1_000_000n)
    } else if ('clear' in step) {
      now += 1000
      await alerts.clearOf([step.clear], 'maintenance')
      this.#model.clearOf(step.clear, 'maintenance', BigInt(now) * 1_000_000n)
    } else if ('ask' in step) await this.#ask(alerts, step.ask)
    else if ('moveEvents' in step) await this.#move(alerts, step.moveEvents)
    else await this.#changeRules(alerts, step)
  }

  async check(): Promise<void> {
    await this.#ask(this.#process(0).alerts, null)
    await this.#move(this.#process(0).alerts, 100_000)
    expect([...this.#moved].sort()).toEqual([...this.#model.events].sort())
    expect(new Set(this.#moved).size).toBe(this.#moved.length)
  }

  async #ask(alerts: Alerts, device: number | null): Promise<void> {
    const listed = await alerts.list({ limit: 100_000, ...(device !== null && { deviceId: device }) })
    const expected = this.#model
      .seen()
      .filter((text) => device === null || text.includes(` device ${device},`))
    expect(listed.alerts.map(seen).sort()).toEqual(expected)
    expect(listed.total).toBe(expected.length)
    if (device !== null) return
    const open = this.#model.alerts.filter(({ clearedAt }) => clearedAt === null).length
    expect(await alerts.counts()).toEqual({ critical: 0, warning: open, info: 0 })
  }

  async #move(alerts: Alerts, limit: number): Promise<void> {
    const events = await alerts.events(limit)
    this.#moved.push(...events.map(({ id }) => id))
    await alerts.deleteEvents(events.map(({ seq }) => seq))
  }

  async #send(step: Extract<Step, { readings: unknown }>): Promise<void> {
    const { device, requestKey } = step
    const readings = step.readings
      .map(({ s, ns, values, id }) => ({
        ts: base + BigInt(s) * 1_000_000_000n + BigInt(ns),
        fields: values,
        id,
      }))
      .filter(({ fields }) => Object.keys(fields).length > 0)
    if (readings.length === 0) return
    const body = {
      batch: readings.map(({ ts, fields, id }) => ({
        ts: String(ts),
        ...(id && { message_id: id }),
        values: fields,
      })),
    }
    const fresh = this.#keys.take(device, requestKey, JSON.stringify(body), readings)
    const sender = { id: device, deviceType: 'sensor', location: null }
    const facts = { receivedAt: arrival, messageId: `${Math.random()}`, idempotencyKey: requestKey }
    const { intake } = this.#process(step.by)
    if (fresh === undefined) await expect(intake.accept(sender, body, facts)).rejects.toThrow(AppError)
    else {
      await intake.accept(sender, body, facts)
      this.#model.message(device, fresh)
    }
  }

  async #changeRules(
    alerts: Alerts,
    step: Extract<Step, { create: unknown } | { change: unknown } | { remove: unknown }>,
  ): Promise<void> {
    now += 1000
    const at = BigInt(now) * 1_000_000n
    if ('create' in step) {
      const { id } = await alerts.createRule(toRule(step.create))
      this.#rules.push(id)
      this.#model.setRule(id, step.create, at)
    } else {
      const place = 'remove' in step ? step.remove : step.at
      const id = this.#rules[place % Math.max(1, this.#rules.length)]
      if (id === undefined) return
      if ('remove' in step) {
        expect(await alerts.deleteRule(id)).toBe(this.#model.rules.has(id))
        this.#model.deleteRule(id, at)
      } else {
        const changed = await alerts.updateRule(id, toRule(step.change))
        expect(changed === undefined).toBe(!this.#model.rules.has(id))
        if (changed === undefined) return
        const before = this.#model.rules.get(id)
        if (before?.revision !== changed.revision) this.#model.setRule(id, step.change, at)
      }
    }
    for (const { rules } of this.#system.processes) await rules.refresh()
  }
}

const agrees = (start: () => Promise<System>, numRuns: number) =>
  fc.assert(
    fc.asyncProperty(
      fc.array(ruleArbitrary, { minLength: 1, maxLength: 3 }),
      fc.array(stepArbitrary, { minLength: 1, maxLength: 60, size: 'max' }),
      async (rules, steps) => {
        const system = await start()
        try {
          const run = new Run(system)
          for (const create of rules) await run.step({ by: 0, create })
          for (const step of steps) await run.step(step)
          await run.check()
        } finally {
          await system.end()
        }
      },
    ),
    // A counterexample is worth more than the smallest one.
    { numRuns, interruptAfterTimeLimit: 60_000 },
  )

describe('alerts agree with the model', () => {
  it('on a file, through the journal', () => agrees(onFile(1), 25))

  it('on a file, through the journal, by two processes', () => agrees(onFile(2), 15))

  it('beside InfluxDB, with its spool', () => agrees(besideInflux, 25))

  it('for 1,000 rules on 1,000 devices, whatever comes late or twice', async () => {
    const system = await onFile(1)()
    try {
      const [{ alerts, intake, rules }] = system.processes as [Process]
      const model = new AlertModel()
      const count = 1000
      for (let device = 1; device <= count; device += 1) {
        const rule = {
          field: 'a',
          above: 1,
          back: 0,
          enabled: true,
          device,
          forS: device % 3,
          clearForS: device % 2,
        }
        const { id } = await alerts.createRule(toRule(rule))
        model.setRule(id, rule, 0n)
      }
      await rules.refresh()
      const sent = new Set<string>()
      const send = async (device: number) => {
        for (let n = 0; n < 20; n += 1) {
          // One in four is late, one in ten was sent before.
          const s = Math.random() < 0.25 ? n - 3 : n
          const [again, a] = [Math.random() < 0.1, Math.floor(Math.random() * 4)]
          const ts = base + BigInt(again ? n - 1 : s) * 1_000_000_000n
          const id = `${device} ${ts} ${a}`
          const body = { ts: String(ts), values: { a }, ...(again && { message_id: id }) }
          const facts = { receivedAt: arrival, messageId: id }
          await intake.accept({ id: device, deviceType: 'sensor', location: null }, body, facts)
          if (!again || !sent.has(id)) model.message(device, [{ ts, fields: { a } }])
          if (again) sent.add(id)
        }
      }
      await Promise.all(Array.from({ length: count }, (_, at) => send(at + 1)))
      expect((await alerts.list({ limit: 100_000 })).alerts.map(seen).sort()).toEqual(model.seen())
      const events = await alerts.events(100_000)
      expect(events.map(({ id }) => id).sort()).toEqual([...model.events].sort())
      expect(events.length).toBeGreaterThan(2 * count)
    } finally {
      await system.end()
    }
  })
})

describe('samples', () => {
  it('of a reading that another process recorded first say nothing', async () => {
    const folder = await temporaryFolder()
    const { database, ledger, close } = await openEmbedded({
      at: { file: join(folder.path, 'ledger.db') },
      log,
      retentionMs: 0,
    })
    try {
      const alerts = new Alerts({ database })
      const rule: ModelRule = {
        field: 'a',
        above: 1,
        back: 1,
        forS: 0,
        clearForS: 0,
        enabled: true,
        device: 1,
      }
      const { id } = await alerts.createRule(toRule(rule))
      const record = (value: number, time: bigint) =>
        ledger.record([
          {
            deviceId: 1,
            receivedAt: arrival,
            rejected: 0,
            duplicates: 0,
            stored: 1,
            keys: ['the same'],
            refusedKeys: [],
            samples: [{ rule: id, revision: 1, at: 0, verdict: value > 1 ? 1 : -1, value, time }],
          },
        ])
      expect(await record(0, base)).toEqual([0])
      expect(await record(5, base + 1n)).toEqual([1])
      expect((await alerts.list({ limit: 10 })).alerts).toEqual([])
    } finally {
      await close()
      await folder.remove()
    }
  })

  it('of a rule as it was before its change say nothing', async () => {
    const system = await onFile(2)()
    try {
      const [changing, other] = system.processes as [Process, Process]
      const rule: ModelRule = {
        field: 'a',
        above: 1,
        back: 1,
        forS: 0,
        clearForS: 0,
        enabled: true,
        device: 1,
      }
      const { id } = await changing.alerts.createRule(toRule(rule))
      await other.rules.refresh()
      const accept = (a: number, at: bigint) =>
        other.intake.accept(
          { id: 1, deviceType: 'sensor', location: null },
          { ts: String(at), values: { a } },
          { receivedAt: arrival, messageId: String(at) },
        )
      // It waits in the journal, and counts before the change.
      await accept(5, base)
      await changing.alerts.updateRule(id, {
        condition: { kind: 'threshold', field: 'a', op: '>', value: 9 },
      })
      // The other process does not know of the change yet.
      await accept(6, base + 1n)
      const { alerts } = await changing.alerts.list({ limit: 10 })
      expect(alerts).toMatchObject([{ state: 'cleared', clearReason: 'rule_changed', openedValue: 5 }])
      await other.rules.refresh()
      await accept(10, base + 2n)
      expect((await changing.alerts.list({ limit: 10, state: 'open' })).total).toBe(1)
    } finally {
      await system.end()
    }
  })
})

describeWithSqld('alerts agree with the model', () => {
  let sqld: Sqld | undefined
  afterAll(() => sqld?.stop())

  it('on a libSQL server, by two instances', async () => {
    sqld = await startSqld()
    await prepareServer(sqld.url, undefined)
    await agrees(
      onServer(() => sqld as Sqld),
      15,
    )
  })
})
