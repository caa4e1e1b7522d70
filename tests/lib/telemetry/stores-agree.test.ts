/** Whatever a device sent and an operator deleted: both stores answer every question alike. */
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createLog } from '../../../lib/log.ts'
import { openEmbeddedStore } from '../../../lib/telemetry/embedded.ts'
import { openInfluxStore } from '../../../lib/telemetry/influx.ts'
import type { FieldValue, Reading } from '../../../lib/telemetry/reading.ts'
import { aggregations, type TelemetryStore, type WriteEntry } from '../../../lib/telemetry/store.ts'
import { createTelemetry, type Telemetry } from '../../../lib/telemetry/telemetry.ts'
import { describeWithInflux, ownBucket } from '../../support/influxdb.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const log = createLog('silent')
/** About half a second each; more of them find rarer things. */
const runs = Number(process.env.PROPERTY_RUNS ?? 30)

const minute = 60_000_000_000n
const [hour, day] = [60n * minute, 1440n * minute]
const start = (BigInt(Date.now()) / 86_400_000n - 5n) * day

// --- What happens to a device -----------------------------------------------------------------------------------

/** Times that meet each other, that lie a nanosecond apart, and that are far from each other. */
const offset = fc
  .record({ slot: fc.bigInt({ min: 0n, max: 11n }), near: fc.bigInt({ min: 0n, max: 1n }) })
  .map(({ slot, near }) => slot * 37n * minute + near)

/** Eighths: the sum of any of them is exact in every order. */
const value: fc.Arbitrary<FieldValue> = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: -8000, max: 8000 }).map((n) => n / 8) },
  { weight: 1, arbitrary: fc.boolean() },
  { weight: 1, arbitrary: fc.constantFrom('', 'x', 'on', '21', 'a,"b"\\', '\r\n', '温 🌡') },
)
const names = ['t', 'on', 'a.b', 'x-1:y']
const reading = fc.record({
  offset,
  fields: fc.dictionary(fc.constantFrom(...names), value, { minKeys: 1, maxKeys: 4, noNullPrototype: true }),
  metadata: fc.option(
    fc.dictionary(fc.constantFrom('m', 'n'), fc.constantFrom('', '1', 'b "c"'), {
      minKeys: 1,
      noNullPrototype: true,
    }),
    { nil: undefined, freq: 3 },
  ),
})
const tags = [
  { deviceType: 'sensor', location: 'Lab' },
  { deviceType: 'sensor', location: null },
  { deviceType: 'pump', location: null },
  { deviceType: 'pump', location: 'C:\\' },
  { deviceType: 'pump', location: '' },
] as const

const write = fc.record({
  kind: fc.constant('write' as const),
  readings: fc.array(reading, { minLength: 1, maxLength: 4 }),
  tags: fc.nat(tags.length - 1),
  /** Sent while the write before is still under way. */
  together: fc.boolean(),
})
const range = fc.tuple(offset, offset).map(([one, other]) => ({ from: start + one, to: start + other }))
const deletion = fc.record({ kind: fc.constant('delete' as const), range })
const steps = fc.array(fc.oneof({ weight: 5, arbitrary: write }, { weight: 1, arbitrary: deletion }), {
  minLength: 1,
  maxLength: 8,
})
const life = fc.record({
  steps,
  /**
   * A device that is moved stays the same; one that is moved back and forth has times of its own in each place: which of
   * several writes of one time was the last, InfluxDB knows of whole points only.
   */
  moves: fc.constantFrom('never', 'onward', 'back and forth' as const),
})
type Life = typeof life extends fc.Arbitrary<infer T> ? T : never

/** The writes and deletions as the stores get them. @param suffix makes the names of the fields new to them. */
const happenings = ({ steps: all, moves }: Life, deviceId: number, suffix: string) => {
  let furthest = 0
  return all.map((step, n) => {
    if (step.kind === 'delete') return { ...step, deviceId }
    furthest = Math.max(furthest, step.tags)
    const place = { never: 0, onward: furthest, 'back and forth': step.tags }[moves]
    const own = moves === 'back and forth' ? BigInt(place) * 2n : 0n
    const entry: WriteEntry = {
      deviceId,
      ...(tags[place] as (typeof tags)[number]),
      receivedAt: 1_700_000_000_000 + n,
      readings: step.readings.map(({ offset: at, fields, metadata }) => ({
        time: start + at + own,
        fields: Object.fromEntries(Object.entries(fields).map(([name, v]) => [name + suffix, v])),
        metadata,
      })),
    }
    return { kind: 'write' as const, entry, together: step.together }
  })
}

const happen = async (store: TelemetryStore, what: ReturnType<typeof happenings>) => {
  let under: Promise<void>[] = []
  for (const step of what) {
    if (step.kind === 'delete' || !step.together) {
      await Promise.all(under)
      under = []
    }
    if (step.kind === 'write') under.push(store.write(step.entry))
    else await store.remove(step.deviceId, step.range)
  }
  await Promise.all(under)
}

// --- What is asked ----------------------------------------------------------------------------------------------

const pages = async (telemetry: Telemetry, query: Parameters<Telemetry['history']>[0]) => {
  const all: Reading[][] = []
  for (let cursor: string | undefined; ; ) {
    const page = await telemetry.history({ ...query, cursor })
    all.push([...page.readings])
    cursor = page.cursor
    if (cursor === undefined) return all
  }
}

const whole = { from: start - day, to: start + 3n * day }

const questions = (deviceId: number, suffix: string, part: { from: bigint; to: bigint }) => {
  const [t = '', on = '', ab = ''] = names.map((name) => name + suffix)
  type Question = (telemetry: Telemetry, store: TelemetryStore) => Promise<unknown>
  const short: Record<string, Question> = {
    latest: (telemetry) => telemetry.latest(deviceId),
    count: (telemetry) => telemetry.count(deviceId),
    countDevices: (telemetry) => telemetry.countDevices(),
    countSince: (telemetry) => telemetry.countSince(part.from),
    'count of a range': (_, store) => store.count(deviceId, part),
    scan: (_, store) => store.scan({ deviceId, ...whole, limit: 10_000 }),
    'scan of a part': (_, store) => store.scan({ deviceId, ...part, limit: 3 }),
  }
  const asked: Record<string, Question> = {}
  for (const order of ['asc', 'desc'] as const)
    for (const fields of [undefined, [t], [on, ab], ['nothing']])
      for (const limit of [1, 3, 10_000])
        for (const [name, ask] of Object.entries({ whole, part })) {
          const query = { deviceId, ...ask, fields, limit, order, maxBytes: 4_000_000 }
          asked[`history ${order} ${fields ?? '*'} ${limit} ${name}`] = (telemetry) => pages(telemetry, query)
        }
  for (const aggregation of aggregations)
    for (const [name, ask] of Object.entries({ whole, part }))
      for (const field of [t, undefined])
        for (const window of [minute, hour, day, 7n * day])
          asked[`${aggregation} ${field ?? '*'} ${window} ${name}`] = (telemetry) =>
            telemetry.aggregate({ deviceId, ...ask, field, aggregation, window })
  return { short: Object.entries(short), long: Object.entries(asked) }
}

describeWithInflux('the embedded store and InfluxDB', () => {
  const ends: (() => Promise<void>)[] = []
  let sides: { store: TelemetryStore; telemetry: Telemetry }[]
  let lastDevice = 0

  beforeAll(async () => {
    const [folder, at] = await Promise.all([temporaryFolder(), ownBucket()])
    const file = join(folder.path, 'telemetry.db')
    const intake = () => Promise.reject(new Error('nothing comes in here'))
    const stores = [
      await openEmbeddedStore({ at: { file }, log, retentionMs: 0 }),
      openInfluxStore({ at, log }),
    ]
    sides = stores.map((store) => ({
      store,
      telemetry: createTelemetry({ store, intake, directIntake: intake, retentionMs: 0 }),
    }))
    ends.push(...stores.map((store) => () => store.close()), folder.remove)
  })
  afterAll(async () => {
    for (const end of ends) await end()
  })

  it(
    'answer alike after any life of a device',
    async () => {
      let answers = 0
      const some = fc.uniqueArray(fc.nat(questions(0, '', whole).long.length - 1), {
        minLength: 12,
        maxLength: 12,
      })
      await fc.assert(
        fc.asyncProperty(life, range, some, fc.boolean(), async (lived, part, chosen, fresh) => {
          lastDevice += 1
          // Fields that no device has had before are written in another way than those of which both kinds are known.
          const suffix = fresh ? `.${lastDevice}` : ''
          const what = happenings(lived, lastDevice, suffix)
          await Promise.all(sides.map(({ store }) => happen(store, what)))
          const { short, long } = questions(lastDevice, suffix, part)
          for (const [question, ask] of [...short, ...long.filter((_, n) => chosen.includes(n))]) {
            answers += 1
            const [one, other] = await Promise.all(sides.map(({ store, telemetry }) => ask(telemetry, store)))
            expect({ [question]: other }).toEqual({ [question]: one })
          }
        }),
        { numRuns: runs },
      )
      expect(answers).toBeGreaterThan(runs * 12)
    },
    20_000 + runs * 5000,
  )
})
