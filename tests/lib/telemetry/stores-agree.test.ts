/** Whatever a device sent and an operator deleted: both stores answer every question alike. */
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { AppError } from '../../../lib/errors.ts'
import { createLog } from '../../../lib/log.ts'
import { parseWindow, type WindowLength } from '../../../lib/telemetry/duration.ts'
import { openEmbedded } from '../../../lib/telemetry/embedded/open.ts'
import { prepareServer } from '../../../lib/telemetry/embedded/writer.ts'
import { fills } from '../../../lib/telemetry/fill.ts'
import { openInfluxStore } from '../../../lib/telemetry/influx/store.ts'
import type { FieldValue, Reading } from '../../../lib/telemetry/reading.ts'
import {
  aggregations,
  type FieldSummary,
  type TelemetryStore,
  type WriteEntry,
} from '../../../lib/telemetry/store.ts'
import { TelemetryReader, type WindowQuery } from '../../../lib/telemetry/telemetry-reader.ts'
import { describeWithInflux, ownBucket } from '../../support/influxdb.ts'
import { describeWithSqld, startSqld } from '../../support/sqld.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { writeEntry } from '../../support/write-entry.ts'

const log = createLog('silent')
/** About half a second each; more of them find rarer things. */
const runs = Number(process.env.PROPERTY_RUNS ?? 30)

const minute = 60_000_000_000n
const day = 1440n * minute
/** The clocks of Berlin change 30 h later, at 2026-10-25T01:00Z. */
const start = BigInt(Date.parse('2026-10-23T19:00:00Z')) * 1_000_000n

// --- What happens to a device -----------------------------------------------------------------------------------

/** Times that meet each other, that lie a nanosecond apart, and that are far from each other. */
const offset = fc
  .record({ slot: fc.bigInt({ min: 0n, max: 50n }), near: fc.bigInt({ min: 0n, max: 1n }) })
  .map(({ slot, near }) => slot * 37n * minute + near)

const value: fc.Arbitrary<FieldValue> = fc.oneof(
  { weight: 2, arbitrary: fc.integer({ min: -40_000_000, max: 40_000_000 }).map((n) => n / 1e6) },
  // No -0: JSON and line protocol have none.
  { weight: 1, arbitrary: fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0) },
  { weight: 1, arbitrary: fc.constantFrom(1e308, -1e308, 1.7976931348623157e308, 5e-324, 0.1, 34.808643) },
  { weight: 1, arbitrary: fc.boolean() },
  { weight: 1, arbitrary: fc.constantFrom('', 'x', 'on', '21', 'a,"b"\\', '\r\n', '温 🌡') },
)
const names = ['t', 'on (main) % °C', 'a.b', 'x-1:y/温度 #1 @&+$']
const fields = fc.dictionary(fc.constantFrom(...names), value, {
  minKeys: 1,
  maxKeys: 4,
  noNullPrototype: true,
})
const reading = fc.record({
  offset,
  fields,
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

/** @param isWatched asks for the newest values after each step, so that the last answer meets what was learnt from the others. */
const happen = async (store: TelemetryStore, what: ReturnType<typeof happenings>, isWatched: boolean) => {
  let under: Promise<void>[] = []
  for (const step of what) {
    if (step.kind === 'delete' || !step.together) {
      await Promise.all(under)
      under = []
    }
    if (step.kind === 'write') under.push(writeEntry(store, step.entry))
    else await store.remove(step.deviceId, step.range)
    if (isWatched) await store.latest('entry' in step ? step.entry.deviceId : step.deviceId, whole.to)
  }
  await Promise.all(under)
}

// --- What is asked ----------------------------------------------------------------------------------------------

const pages = async (telemetry: TelemetryReader, query: Parameters<TelemetryReader['history']>[0]) => {
  const all: Reading[][] = []
  for (let cursor: string | undefined; ; ) {
    const page = await telemetry.history({ ...query, cursor })
    all.push([...page.readings])
    cursor = page.cursor
    if (cursor === undefined) return all
  }
}

/** InfluxDB also has types whose values were all written again: what both know are the times of each name. */
const byName = (fields: readonly FieldSummary[]) => {
  const times = new Map<string, { first: bigint; last: bigint }>()
  for (const { name, first, last } of fields) {
    const known = times.get(name) ?? { first, last }
    times.set(name, {
      first: known.first < first ? known.first : first,
      last: known.last > last ? known.last : last,
    })
  }
  return times
}

/** An answer, or the refusal that is one. */
const settled = (answer: Promise<unknown>) =>
  answer.catch((error: unknown) => {
    const { code, details } = error as AppError
    if (code !== 'NOT_NUMERIC' && code !== 'VALIDATION_FAILED') throw error
    return { code, details }
  })

/** With the names in their order, which `toEqual` does not see. */
const inOrder = (answer: unknown): string =>
  JSON.stringify(answer, (_key, one: unknown) => (typeof one === 'bigint' ? String(one) : one))

const windows: Pick<WindowQuery, 'window' | 'timezone' | 'fill'>[] = [
  ...['1m', '1h30m', '24h'].map((window) => ({ window, timezone: 'Europe/Berlin' })),
  ...['1d', '3d', '1w', '1mo', '1y'].flatMap((window) =>
    ['UTC', 'Europe/Berlin', 'Asia/Kathmandu'].map((timezone) => ({ window, timezone })),
  ),
].map(({ window, timezone }, n) => ({
  window: parseWindow(window) as WindowLength,
  timezone,
  fill: n === 0 ? undefined : [undefined, ...fills][n % 4],
}))

const whole = { from: start - day, to: start + 3n * day }

type Question = (telemetry: TelemetryReader, store: TelemetryStore) => Promise<unknown>

const questions = (deviceId: number, suffix: string, part: { from: bigint; to: bigint }) => {
  const [t = '', on = '', ab = ''] = names.map((name) => name + suffix)
  const short: Record<string, Question> = {
    latest: (_, store) => store.latest(deviceId, whole.to),
    'latest of a part': (_, store) => store.latest(deviceId, part.to),
    latestValues: (_, store) => store.latestValues({ deviceIds: [deviceId], field: t, before: whole.to }),
    'latestValues of a part': (_, store) =>
      store.latestValues({ deviceIds: [deviceId], field: on, before: part.to }),
    fields: async (_, store) => byName(await store.fields(deviceId)),
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
        for (const length of windows) {
          const query = { deviceId, ...ask, ...length, field, aggregation, fillUntil: ask.to }
          asked[`${aggregation} ${field ?? '*'} ${JSON.stringify(length)} ${name}`] = (telemetry) =>
            settled(telemetry.aggregate(query))
        }
  return { short: Object.entries(short), long: Object.entries(asked) }
}

interface Other {
  readonly store: TelemetryStore
  end(): Promise<void>
}

/** @param open a store that is to answer as the embedded store in a file does. */
const agreesWithFile = (open: () => Promise<Other>) => {
  const ends: (() => Promise<void>)[] = []
  let sides: { store: TelemetryStore; telemetry: TelemetryReader }[]
  let lastDevice = 0

  beforeAll(async () => {
    const [folder, other] = await Promise.all([temporaryFolder(), open()])
    const file = join(folder.path, 'telemetry.db')
    const unused = () => Promise.reject(new Error('this test writes into the stores directly'))
    const { store: inFile } = await openEmbedded({ at: { file }, log, retentionMs: 0 })
    sides = [inFile, other.store].map((store) => ({
      store,
      telemetry: new TelemetryReader({ store, ledger: unused }),
    }))
    ends.push(() => inFile.close(), other.end, folder.remove)
  })
  afterAll(async () => {
    for (const end of ends) await end()
  })

  const expectSameAnswer = async (question: string, ask: Question) => {
    const [one, other] = await Promise.all(sides.map(({ store, telemetry }) => ask(telemetry, store)))
    expect({ [question]: other }).toEqual({ [question]: one })
    expect(inOrder(other), question).toBe(inOrder(one))
  }

  it(
    'after any life of a device',
    async () => {
      let answers = 0
      const some = fc.uniqueArray(fc.nat(questions(0, '', whole).long.length - 1), {
        minLength: 12,
        maxLength: 12,
      })
      await fc.assert(
        fc.asyncProperty(
          life,
          range,
          some,
          fc.boolean(),
          fc.boolean(),
          async (lived, part, chosen, fresh, watched) => {
            lastDevice += 1
            // Fields that no device has had before are written in another way than those of which both kinds are known.
            const suffix = fresh ? `.${lastDevice}` : ''
            const what = happenings(lived, lastDevice, suffix)
            await Promise.all(sides.map(({ store }) => happen(store, what, watched)))
            const { short, long } = questions(lastDevice, suffix, part)
            for (const [question, ask] of [...short, ...long.filter((_, n) => chosen.includes(n))]) {
              answers += 1
              await expectSameAnswer(question, ask)
            }
          },
        ),
        { numRuns: runs },
      )
      expect(answers).toBeGreaterThan(runs * 12)
    },
    20_000 + runs * 5000,
  )

  it('about thousands of readings, of a device that stays and one that moves', async () => {
    const count = 3000
    const random = fc.sample(fc.record({ offset: fc.bigInt({ min: 0n, max: 3n * day }), fields }), count)
    for (const moves of [false, true]) {
      lastDevice += 1
      for (let from = 0; from < count; from += 500) {
        const readings = random.slice(from, from + 500).map(({ offset: at, fields: values }) => ({
          time: start + at,
          fields: values,
          metadata: undefined,
        }))
        const place = tags[moves ? Math.min(from / 500, tags.length - 1) : 0] as (typeof tags)[number]
        const entry = { deviceId: lastDevice, ...place, receivedAt: 1_700_000_000_000 + from, readings }
        for (const { store } of sides) await writeEntry(store, entry)
      }
      const part = { from: start + day / 3n, to: start + 2n * day }
      const { short, long } = questions(lastDevice, '', part)
      // Pages of single readings would be thousands of queries.
      const asked = long.filter(([question]) => !/^history .* [13] /.test(question))
      for (const [question, ask] of [...short, ...fc.sample(fc.constantFrom(...asked), 40)])
        await expectSameAnswer(question, ask)
    }
  }, 300_000)
}

for (const [keys, fewKeys] of [
  ['few', 1_000_000],
  ['many', 0],
] as const)
  describeWithInflux(`InfluxDB answers as the embedded store does, asked as for ${keys} keys`, () => {
    agreesWithFile(async () => {
      const store = openInfluxStore({ connection: await ownBucket(), log, fewKeys })
      return { store, end: () => store.close() }
    })
  })

describeWithSqld('a libSQL server answers as the embedded store does', () => {
  agreesWithFile(async () => {
    const { url, stop } = await startSqld()
    await prepareServer(url, undefined)
    const { store, close } = await openEmbedded({ at: { url, authToken: undefined }, log, retentionMs: 0 })
    return {
      store,
      async end() {
        await close()
        await stop()
      },
    }
  })
})
