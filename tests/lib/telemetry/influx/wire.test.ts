/** Requests of the store on InfluxDB, byte for byte, and the outcome of each answer. A local HTTP server plays InfluxDB. */
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AppError } from '../../../../lib/errors.ts'
import { createLog } from '../../../../lib/log.ts'
import { takesText } from '../../../../lib/telemetry/aggregation.ts'
import { prepareInflux } from '../../../../lib/telemetry/influx/provision.ts'
import { type InfluxOptions, InfluxStore } from '../../../../lib/telemetry/influx/store.ts'
import type { FieldValue, Reading } from '../../../../lib/telemetry/reading.ts'
import {
  aggregations,
  type TelemetryStore,
  type WriteEntry,
  type WriteOutcome,
} from '../../../../lib/telemetry/store.ts'
import {
  answer,
  cutAnswer,
  type Heard,
  type InfluxServer,
  pack,
  packedSeries,
  type Reply,
  selectsOf,
  silence,
  startInfluxServer,
  table,
} from '../../../support/influx-server.ts'

const token = 'secret-token-of-the-test'
const at = { org: 'our & org', bucket: 'a "bucket"', token }
const [writePath, queryPath, deletePath] = ['/api/v2/write', '/api/v2/query', '/api/v2/delete']
/** Of InfluxQL; the other one is Flux. */
const pointsPath = '/query'
const range = { from: 10n, to: 20n }
/** The last nanosecond that InfluxDB can store. */
const last = 9_223_372_036_854_775_806n

let server: InfluxServer
let store: InfluxStore
let lines: string[]

const logged = () => {
  log.flush()
  return lines.join('')
}
const log = createLog('debug', (text) => void lines.push(text))

const open = (more: Partial<InfluxOptions> = {}) =>
  new InfluxStore({ connection: { ...at, url: server.url }, log, ...more })

beforeEach(async () => {
  lines = []
  server = await startInfluxServer()
  store = open()
})
afterEach(async () => {
  // Closes the requests that a test never answered.
  await Promise.all([store.close(), server.end()])
})

const reading = (
  time: bigint,
  fields: Record<string, FieldValue>,
  metadata?: Record<string, string>,
): Reading => ({ time, fields, metadata })
const entry = (more: Partial<WriteEntry> = {}): WriteEntry => ({
  deviceId: 7,
  deviceType: 'sensor',
  location: 'Lab',
  receivedAt: 1_700_000_000_123,
  readings: [reading(1n, { v: 1 })],
  ...more,
})
/** Writes a batch of one entry. @returns places of refused readings. @throws {AppError} when it is unavailable. */
const writeEntry = async (one: WriteEntry): Promise<readonly number[]> => {
  const [outcome] = await store.write([one])
  if (outcome === undefined) throw new Error('no outcome')
  if ('unavailable' in outcome) throw outcome.unavailable
  return outcome.refused
}
const entryOf = (fields: Record<string, FieldValue>, time = 1n) =>
  entry({ readings: [reading(time, fields)] })
const write = (fields: Record<string, FieldValue>, time = 1n) => writeEntry(entryOf(fields, time))
/** One word per entry. */
const wordsOf = (outcomes: readonly WriteOutcome[]) =>
  outcomes.map((outcome) =>
    'unavailable' in outcome ? 'unavailable' : outcome.refused.length > 0 ? 'refused' : 'stored',
  )
const history = (more: Partial<Parameters<TelemetryStore['history']>[0]> = {}) =>
  store.history({ deviceId: 7, ...range, fields: undefined, limit: 100, order: 'asc', ...more })

/** The error of a promise; the test fails when there is none. */
const faultOf = async (outcome: Promise<unknown>): Promise<AppError> => {
  const error = await outcome.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof AppError)) throw new Error(`not an AppError: ${String(error)}`)
  return error
}

const scriptOf = ({ body }: Heard) => (JSON.parse(body) as { query: string }).query
/** Blanks and line ends between words have no meaning in Flux. */
const plain = (script: string) => script.replace(/\s+/g, ' ').trim()
const scripts = () =>
  server
    .at(queryPath)
    .map((heard) => plain(scriptOf(heard)))
    .filter((script) => !script.startsWith('import'))
/** Asks whether the measurement has many keys, before the first query that could name all. */
const showKeys = 'SHOW FIELD KEYS FROM "device_telemetry" LIMIT 1 OFFSET 150'
const asksForKeys = (heard: Heard) => selectsOf(heard)[0] === showKeys
const pointsAsked = () => server.at(pointsPath).filter((heard) => !asksForKeys(heard))
const selects = () => pointsAsked().flatMap(selectsOf)
/** Answers the queries for points; there are few keys. */
const replyPoints = (reply: Reply) =>
  server.reply(pointsPath, (response, heard) =>
    (asksForKeys(heard) ? answer(200, packedSeries([])) : reply)(response, heard),
  )

describe('a write', () => {
  const sent = () => server.at(writePath).map(({ body }) => body)

  it('is line protocol: typed names, tags and strings escaped, nanoseconds', async () => {
    await writeEntry(
      entry({
        deviceType: 'pump, type=2',
        location: 'Hall "1" \\ north\\',
        readings: [
          reading(
            1_700_000_000_123_456_789n,
            { whole: 21, part: -0.5, tiny: 5e-324, huge: 1.7976931348623157e308, on: true, off: false },
            { subtopic: 'a, b="c"\\' },
          ),
          reading(2n, { 'a.b-c:d_e': 1, text: 'a "b" \\ c, d=e\nf\r\tü 温 🌡', empty: '', 'x|y': 1 }),
        ],
      }),
    )
    const tags =
      'device_telemetry,device_id=7,device_type=pump\\,\\ type\\=2,location=Hall\\ "1"\\ \\\\ north\\\uE00D2'
    expect(sent()).toEqual([
      [
        `${tags} received_at=1700000000123i,whole=21,part=-0.5,tiny=5e-324,huge=1.7976931348623157e+308,on|b=T,off|b=F,meta_subtopic="a, b=\\"c\\"\\\\" 1700000000123456789`,
        `${tags} received_at=1700000000123i,a.b-c:d_e=1,text|s="a \\"b\\" \\\\ c, d=e\nf\uE00D0\tü 温 🌡",empty|s="\uE00D2",x|y=1 2`,
      ].join('\n'),
    ])
  })

  it('has no tag for an unknown location', async () => {
    await writeEntry(entry({ location: null }))
    expect(sent()).toEqual([
      'device_telemetry,device_id=7,device_type=sensor received_at=1700000000123i,v=1 1',
    ])
  })

  it('has a tag for an empty location', async () => {
    await writeEntry(entry({ location: '' }))
    expect(sent()[0]).toContain(',location=\uE00D2 ')
  })

  it('says which kind was written last, when a field has values of several kinds', async () => {
    await write({ v: 1, w: 1 })
    await write({ v: 'x', w: 2 })
    await write({ v: 3 })
    await write({ v: true })
    expect(sent().map((body) => body.split(' ')[1])).toEqual([
      'received_at=1700000000123i,v=1,w=1',
      'received_at=1700000000123i,v|s="x",v|k="s",w=2',
      'received_at=1700000000123i,v=3,v|k="n"',
      'received_at=1700000000123i,v|b=T,v|k="b"',
    ])
  })

  it('asks for the kinds that other processes wrote before it sends the first write', async () => {
    const keys = [['v|s'], ['received_at'], ['meta_a'], ['w|k'], ['w']]
    server.reply(queryPath, answer(200, table({ _value: 'string' }, ...keys)))
    await write({ v: 1, w: 2 })
    expect(server.heard.map(({ path }) => path)).toEqual([queryPath, writePath])
    expect(plain(scriptOf(server.heard[0] as Heard))).toBe(
      'import "influxdata/influxdb/schema" schema.measurementFieldKeys(bucket: "a \\"bucket\\"", measurement: "device_telemetry", start: time(v: 0))',
    )
    expect(sent()[0]).toContain('v=1,v|k="n",w=2 1')
  })

  it('names organization, bucket and precision, and carries the token', async () => {
    await write({ v: 1 })
    const [heard] = server.at(writePath)
    expect(heard).toMatchObject({
      method: 'POST',
      parameters: { org: 'our & org', bucket: 'a "bucket"', precision: 'ns' },
      headers: { authorization: `Token ${token}`, 'content-type': 'text/plain; charset=utf-8' },
    })
  })

  it('is not compressed over plain http', async () => {
    await write({ v: 'a'.repeat(5000) })
    expect(server.at(writePath).map(({ compressed }) => compressed)).toEqual([false])
  })

  it('sends all readings of a batch in one request, over one connection that stays open', async () => {
    await write({ v: 0 })
    const outcomes = await store.write([1n, 2n, 3n].map((time) => entryOf({ v: Number(time) }, time)))
    expect(outcomes).toEqual(Array(3).fill({ refused: [] }))
    expect(sent().map((body) => body.split('\n').length)).toEqual([1, 3])
    for (let n = 0; n < 10; n += 1) {
      await write({ v: n })
      await history()
    }
    expect(new Set(server.heard.map(({ connection }) => connection))).toEqual(new Set([1]))
  })
})

describe('a query', () => {
  const ofDevice = (from: bigint, to: bigint) =>
    `from(bucket: "a \\"bucket\\"") |> range(start: time(v: ${from}), stop: time(v: ${to})) |> filter(fn: (r) => r._measurement == "device_telemetry" and r.device_id == "7")`
  const ofAll = (from: bigint, to: bigint) => ofDevice(from, to).replace(' and r.device_id == "7"', '')
  const named = (...names: string[]) =>
    ` |> filter(fn: (r) => ${names.map((name) => `r._field == "${name}"`).join(' or ')})`
  const kept = ' |> keep(columns: ["_time", "_field", "_value", "device_type", "location"])'

  const select = (keys: string, from: bigint, to: bigint, rest = '') =>
    `SELECT ${keys} FROM "device_telemetry" WHERE "device_id"::tag = '7' AND time >= ${from} AND time < ${to} GROUP BY *${rest}`
  /** The pattern of all keys of these fields. */
  const keysOf = (...names: string[]) =>
    `/(?s)^(?:${names.flatMap((name) => ['', '\\x{7c}s', '\\x{7c}b', '\\x{7c}k'].map((kind) => name + kind)).join('|')})$/`
  const points = (columns: string[], ...values: unknown[][]) => ({ columns, values })

  it('carries the bucket and the token, and the organization where its language has one', async () => {
    await history()
    await store.count(7)
    const authorized = { method: 'POST', headers: { authorization: `Token ${token}` } }
    expect(pointsAsked()[0]).toMatchObject({
      ...authorized,
      parameters: { db: 'a "bucket"', epoch: 'ns', chunked: 'true' },
    })
    expect(pointsAsked()[0]?.parameters).not.toHaveProperty('rp')
    expect(server.at(queryPath)[0]).toMatchObject({ ...authorized, parameters: { org: 'our & org' } })
  })

  it('finds a bucket whose name has a slash as InfluxDB maps it', async () => {
    await store.close()
    store = open({ connection: { ...at, url: server.url, bucket: 'ours/week/1' } })
    await history()
    expect(pointsAsked()[0]?.parameters).toMatchObject({ db: 'ours', rp: 'week/1' })
  })

  it('asks for history', async () => {
    await history({ limit: 5 })
    await history({ limit: 5, order: 'desc' })
    await history({ limit: 5, fields: ['a', 'b.c'] })
    await history({ from: 20n, to: 10n })
    await history({ from: -5n, to: 2n ** 64n })
    expect(selects()).toEqual([
      select('*', 10n, 20n, ' LIMIT 5'),
      select('*', 10n, 20n, ' ORDER BY time DESC LIMIT 5'),
      select(keysOf('a', 'b\\x{2e}c'), 10n, 20n, ' LIMIT 5'),
      select('*', 0n, last, ' LIMIT 100'),
    ])
  })

  it('asks for the metadata of readings when only some fields are wanted', async () => {
    replyPoints(answer(200, packedSeries([points(['a'], [12n, 5])])))
    expect(await history({ fields: ['a'], order: 'desc' })).toEqual([reading(12n, { a: 5 })])
    expect(selects()[1]).toBe(select('/(?s)^(?:meta_.*|received_at)$/', 12n, 13n))
  })

  it('asks for readings with their tags', async () => {
    const tags = { device_type: 'pump', location: 'Hall' }
    const columns = ['received_at', 'v', 'v|b', 'v|s', 'meta_a']
    const values = [
      [12n, 1_700_000_000_000n, 1.5, null, null, 'x\uE00D0'],
      [13n, 5, null, true, null, null],
    ]
    replyPoints(answer(200, packedSeries([{ tags, columns, values }])))
    const stored = { deviceType: 'pump', location: 'Hall' }
    expect(await store.scan({ deviceId: 7, ...range, limit: 10 })).toEqual([
      { ...reading(12n, { v: 1.5 }, { a: 'x\r' }), ...stored, receivedAt: 1_700_000_000_000 },
      { ...reading(13n, { v: true }), ...stored, receivedAt: 5 },
    ])
    await store.scan({ deviceId: 7, from: 20n, to: 10n, limit: 10 })
    expect(selects()).toEqual([select('*', 10n, 20n, ' LIMIT 10')])
  })

  describe('for the newest values', () => {
    const newest = (from: bigint) => select('*', from, last, ' ORDER BY time DESC LIMIT 1')
    const others = expect.stringContaining(' AND time >= 0 ')
    const eachKey = `${ofDevice(0n, last)} |> last()${kept}`

    it('asks for the newest point, then whether there are other fields', async () => {
      replyPoints((response, heard) => {
        const found = pointsAsked().length === 1 ? [points(['v', 'x'], [12n, 5, null])] : []
        answer(200, packedSeries(found))(response, heard)
      })
      expect(await store.latest(7, last)).toEqual({ time: 12n, fields: { v: 5 } })
      expect(selects()).toEqual([newest(0n), others])
      expect(scripts()).toEqual([])
    })

    it('asks for both at once where the newest point was like that before', async () => {
      const replies = [
        [[points(['v', 'received_at'], [12n, 5, 1])]],
        [[]],
        [[points(['v', 'received_at'], [15n, 6, 1])], []],
      ]
      replyPoints((response, heard) => answer(200, packedSeries(...(replies.shift() ?? [])))(response, heard))
      await store.latest(7, last)
      expect(await store.latest(7, last)).toEqual({ time: 15n, fields: { v: 6 } })
      expect(pointsAsked()).toHaveLength(3)
      expect(selects().slice(2)).toEqual([newest(12n), others])
    })

    it('asks for each key where the newest point lacks one, or shares its time with another point', async () => {
      const row = points(['v'], [12n, 5])
      replyPoints(answer(200, packedSeries([row])))
      await store.latest(7, last)
      expect(scripts()).toEqual([eachKey])
      const moved = { ...row, tags: { location: 'Hall' } }
      replyPoints(answer(200, packedSeries([row, moved])))
      await store.latest(7, last)
      expect(scripts()).toEqual([eachKey, eachKey])
    })

    it.each([
      ['many', Array.from({ length: 201 }, (_, n) => `v${n}`)],
      ['long', Array.from({ length: 70 }, (_, n) => `${'v'.repeat(120)}${n}`)],
    ])(
      'asks for each key where a pattern of the names would be too long, since they are %s',
      async (_, names) => {
        replyPoints(answer(200, packedSeries([points(names, [12n, ...names.map(() => 5)])])))
        await store.latest(7, last)
        expect(selects()).toEqual([newest(0n)])
        expect(scripts()).toEqual([eachKey])
      },
    )

    it('asks for all times where no point is as new as the one before', async () => {
      const replies = [[[points(['v'], [12n, 5])]], [[]], [[], []], [[points(['v'], [11n, 4])]], [[]]]
      replyPoints((response, heard) => answer(200, packedSeries(...(replies.shift() ?? [])))(response, heard))
      await store.latest(7, last)
      expect(await store.latest(7, last)).toEqual({ time: 11n, fields: { v: 4 } })
      expect(selects().slice(2)).toEqual([newest(12n), others, newest(0n), others])
    })
  })

  it('asks for the newest values of one field, many devices at a time', async () => {
    await store.latestValues({ deviceIds: [7, 8], field: 'a', before: 20n })
    expect(scripts()).toEqual([
      `${ofAll(0n, 20n)} |> filter(fn: (r) => r.device_id =~ /^(7|8)$/)${named('a', 'a|s', 'a|b', 'a|k')} |> last() |> keep(columns: ["device_id", "_time", "_field", "_value", "device_type", "location"])`,
    ])
    await store.latestValues({
      deviceIds: Array.from({ length: 1000 }, (_, n) => n),
      field: 'a',
      before: 20n,
    })
    expect(scripts()).toHaveLength(1 + 1)
  })

  it('takes the newest of the values that several types and places of a field have', async () => {
    const columns = {
      device_id: 'string',
      _time: 'dateTime:RFC3339',
      _field: 'string',
      _value: 'string',
      location: 'string',
    }
    server.reply(
      queryPath,
      answer(
        200,
        table(
          columns,
          ['7', '1970-01-01T00:00:01Z', 'a|s', 'old', 'Lab'],
          ['7', '1970-01-01T00:00:02Z', 'a|s', 'new', 'Hall'],
          ['8', '1970-01-01T00:00:01Z', 'a|s', 'only', 'Lab'],
        ),
      ),
    )
    expect(await store.latestValues({ deviceIds: [7, 8, 9], field: 'a', before: last })).toEqual(
      new Map([
        [7, { time: 2_000_000_000n, value: 'new' }],
        [8, { time: 1_000_000_000n, value: 'only' }],
      ]),
    )
  })

  it.each(aggregations)('asks for the values of windows: %s', async (aggregation) => {
    const ask = { deviceId: 7, ...range, aggregation, bounds: { every: 5 } }
    const isOfText = takesText(aggregation)
    await store.aggregate({ ...ask, field: 'a' })
    await store.aggregate({ ...ask, field: undefined })
    const ofNumbers = keysOf('a').replace('|a\\x{7c}s', '')
    expect(selects()).toEqual([
      select(isOfText ? keysOf('a') : ofNumbers, 10n, 20n),
      ...(isOfText ? [] : [select('/(?s)^(?:a\\x{7c}s)$/', 10n, 20n, ' LIMIT 1')]),
      expect.stringMatching(/^SELECT \/.* AND time >= 10 AND time < 20 GROUP BY \*$/),
    ])
  })

  describe('for an aggregation of a field with several types', () => {
    const columns = ['a', 'a|s', 'a|b', 'a|k', 'received_at']
    const rows = [
      [10n, 1, null, null, null, 1n],
      [11n, 2, 'x', null, 's', 1n],
      [12n, 4, 'x', null, 'n', 1n],
      [13n, null, null, true, 'b', 1n],
      // The other kind was deleted.
      [14n, 8, null, null, 's', 1n],
    ]
    const ask = { deviceId: 7, ...range, field: 'a', bounds: { every: 5 } } as const
    const window = (a: FieldValue) => [{ time: 0n, values: { a } }]
    const withoutText = '/(?s)^(?:a|a\\x{7c}b|a\\x{7c}k)$/'

    it('takes the values as they come, of the type that was written last', async () => {
      replyPoints(answer(200, packedSeries([points(columns, ...rows)])))
      expect(await store.aggregate({ ...ask, aggregation: 'count' })).toEqual(window(5))
      expect(selects()).toEqual([select(keysOf('a'), 10n, 20n)])
    })

    it('asks for texts only where one was written last', async () => {
      const ofNumbers = points(['a', 'a|b', 'a|k'], [10n, 1, null, null], [13n, 2, true, 'b'])
      replyPoints(answer(200, packedSeries([ofNumbers])))
      expect(await store.aggregate({ ...ask, aggregation: 'sum' })).toEqual(window(2))
      expect(selects()).toEqual([select(withoutText, 10n, 20n)])
      replyPoints(answer(200, packedSeries([points(columns, ...rows)])))
      expect(await store.aggregate({ ...ask, aggregation: 'sum' })).toEqual(window(14))
      expect(selects().slice(1)).toEqual([
        select(withoutText, 10n, 20n),
        select(keysOf('a').replace(')$/', '|received_at)$/'), 10n, 20n, ' LIMIT 5000'),
      ])
    })

    it('asks whether there is text where there is nothing else', async () => {
      const replies = [[], [points(['a|s'], [10n, 'x'])]]
      replyPoints((response, heard) => answer(200, packedSeries(replies.shift() ?? []))(response, heard))
      await expect(store.aggregate({ ...ask, aggregation: 'sum' })).rejects.toMatchObject({
        code: 'NOT_NUMERIC',
      })
      expect(selects()).toEqual([
        select(withoutText, 10n, 20n),
        select('/(?s)^(?:a\\x{7c}s)$/', 10n, 20n, ' LIMIT 1'),
      ])
    })
  })

  it('asks for whole readings, page by page, where a device has several series', async () => {
    const row = points(['a', 'received_at'], [10n, 1, 1n])
    const both = [
      { ...row, tags: { location: 'Lab' } },
      { ...row, values: [[10n, 2, 0n]] },
    ]
    replyPoints(answer(200, packedSeries(both)))
    const ask = { deviceId: 7, ...range, aggregation: 'sum', bounds: { every: 5 }, field: 'a' } as const
    expect(await store.aggregate(ask)).toEqual([{ time: 0n, values: { a: 1 } }])
    const keys = keysOf('a').replace(')$/', '|received_at)$/')
    expect(selects()).toEqual([
      select(keysOf('a').replace('|a\\x{7c}s', ''), 10n, 20n),
      select(keys, 10n, 20n, ' LIMIT 5000'),
    ])
  })

  it('asks for counts', async () => {
    await store.count(7)
    await store.count(7, range)
    await store.devices()
    await store.countSince(5n)
    expect(scripts()).toEqual([
      `${ofDevice(0n, last)}${named('received_at')} |> count() |> keep(columns: ["device_id", "_value"])`,
      `${ofDevice(10n, 20n)}${named('received_at')} |> count() |> keep(columns: ["device_id", "_value"])`,
      `${ofAll(0n, last)}${named('received_at')} |> last() |> keep(columns: ["device_id"])`,
      `${ofAll(5n, last)}${named('received_at')} |> count() |> keep(columns: ["device_id", "_value"])`,
    ])
  })

  it('asks for the keys of the device first where the measurement has many', async () => {
    server.reply(pointsPath, (response, heard) => {
      const found = asksForKeys(heard) ? [{ columns: ['fieldType'], values: [['key', 'float']] }] : []
      answer(200, packedSeries(found))(response, heard)
    })
    const keys = table({ _field: 'string' }, ['a'], ['a|s'], ['meta_m'], ['received_at'])
    server.reply(queryPath, answer(200, keys))
    await history({ limit: 5 })
    await store.aggregate({
      deviceId: 7,
      ...range,
      field: undefined,
      aggregation: 'sum',
      bounds: { every: 5 },
    })
    await history({ limit: 5, fields: ['a'] })
    const asked = `${ofDevice(10n, 20n)} |> last() |> keep(columns: ["_field"])`
    expect(scripts()).toEqual([asked, asked])
    expect(selects()).toEqual([
      select('/(?s)^(?:a|a\\x{7c}s|meta_m|received_at)$/', 10n, 20n, ' LIMIT 5'),
      select('/(?s)^(?:a)$/', 10n, 20n),
      select(keysOf('a'), 10n, 20n, ' LIMIT 5'),
    ])
    // Once for all of them.
    expect(server.at(pointsPath).filter(asksForKeys)).toHaveLength(1)
    server.reply(queryPath, answer(200, '\r\n'))
    expect(await history()).toEqual([])
    expect(selects()).toHaveLength(3)
    await store.latest(7, last)
    expect(scripts().at(-1)).toBe(`${ofDevice(0n, last)} |> last()${kept}`)
  })

  it('deletes a range of one device, without the end of the range', async () => {
    const time = 1_700_000_000_000_000_000n
    await store.remove(7, { from: time, to: time + 1_000_000_000n })
    await store.remove(7, { from: 5n, to: 5n })
    expect(server.at(deletePath)).toEqual([
      expect.objectContaining({
        method: 'POST',
        parameters: { org: 'our & org', bucket: 'a "bucket"' },
        headers: expect.objectContaining({ authorization: `Token ${token}` }),
      }),
    ])
    expect(JSON.parse(server.at(deletePath)[0]?.body ?? '')).toEqual({
      start: '2023-11-14T22:13:20Z',
      stop: '2023-11-14T22:13:20.999999999Z',
      predicate: '_measurement="device_telemetry" AND device_id="7"',
    })
  })

  it('contains the name of a field only as a pattern of letters, whatever the name is', async () => {
    const hostile = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.string({
        unit: fc.constantFrom(...'"\\${}()|/;\'>\n\r\t\0 /* */', 'DROP MEASUREMENT "x"'),
        maxLength: 12,
      }),
    )
    const selectsFor = async (name: string) => {
      const before = pointsAsked().length
      await history({ fields: [name] })
      await store.aggregate({ deviceId: 7, ...range, field: name, aggregation: 'sum', bounds: { every: 5 } })
      return pointsAsked().slice(before).flatMap(selectsOf)
    }
    const usual = await selectsFor('plain')
    await fc.assert(
      fc.asyncProperty(hostile, async (name) => {
        const said = await selectsFor(name)
        const pattern = /(?<=[(|])((?:\w|\\x\{[0-9a-f]+\})*)(?=\\x\{7c\}s\|)/.exec(said[0] ?? '')?.[1] ?? ''
        expect(said).toEqual(usual.map((one) => one.replaceAll('plain', () => pattern)))
        const names = pattern.replace(/\\x\{([0-9a-f]+)\}/g, (_all, hex: string) =>
          String.fromCodePoint(Number.parseInt(hex, 16)),
        )
        expect(names).toBe(name.toWellFormed())
      }),
      { numRuns: 300 },
    )
  })

  it('contains the name of a field in Flux only as a string, whatever the name is', async () => {
    const names = ['plain', '"', '\\', '${r}', '") |> drop(columns: ["a"])', 'a\nb', '温 🌡']
    for (const field of names) await store.latestValues({ deviceIds: [7], field, before: 20n })
    const escaped = (name: string) =>
      name.replace(/["\\]/g, '\\$&').replaceAll('${', '\\${').replaceAll('\n', '\\n')
    for (const [at, name] of names.entries())
      expect(scriptOf(server.at(queryPath)[at] as Heard)).toContain(`r._field == "${escaped(name)}"`)
  })
})

describe('an answer other than success', () => {
  const secrets = [token, 'the server says', 'device_telemetry', 'a-value', 'our & org', 'a "bucket"']
  const words = { code: 'internal error', message: `the server says: device_telemetry a-value ${token}` }
  const expectSilent = (error: AppError) => {
    const cause = error.cause as Error
    const shown = [logged(), error.message, JSON.stringify(error), cause.message, JSON.stringify(cause)].join(
      '\n',
    )
    for (const secret of [...secrets, server.url.slice(7)]) expect(shown).not.toContain(secret)
    expect(cause.cause).toBeUndefined()
  }
  const asks: Record<string, () => Promise<unknown>> = {
    write: () => write({ v: 'a-value' }),
    history: () => history(),
    latest: () => store.latest(7, last),
    latestValues: () => store.latestValues({ deviceIds: [7], field: 'v', before: last }),
    aggregate: () =>
      store.aggregate({ deviceId: 7, ...range, field: 'v', aggregation: 'sum', bounds: { every: 5 } }),
    count: () => store.count(7),
    devices: () => store.devices(),
    scan: () => store.scan({ deviceId: 7, ...range, limit: 10 }),
    countSince: () => store.countSince(5n),
    check: () => store.check(),
    remove: () => store.remove(7, range),
  }
  const paths = [writePath, queryPath, pointsPath, deletePath]
  const replyAll = (reply: Reply) => {
    for (const path of paths) server.reply(path, reply)
  }
  /** Makes the store ask for known fields now, so that the next write sends only its own request. */
  const learnt = async () => {
    await write({ v: 'a-value' })
    lines = []
  }

  it.each([401, 403, 404, 429, 500, 502, 503])(
    '%i is not caused by the content: UNAVAILABLE for every operation',
    async (status) => {
      await learnt()
      replyAll(answer(status, words))
      for (const [name, ask] of Object.entries(asks)) {
        const error = await faultOf(ask())
        expect(error, name).toMatchObject({
          code: 'UNAVAILABLE',
          retryAfterS: 2,
          message: 'The telemetry store cannot take or give readings at the moment.',
          cause: { code: `HTTP_${status}` },
        })
        expectSilent(error)
      }
      expect(logged()).toContain(`"code":"HTTP_${status}"`)
      // The caller retries, not the store.
      expect(server.at(writePath)).toHaveLength(2)
    },
  )

  it.each([400, 413, 422])('%i refuses a reading for good: it is not sent again', async (status) => {
    await learnt()
    replyAll(answer(status, words))
    expect(await write({ v: 'a-value' })).toEqual([0])
    expect(server.at(writePath)).toHaveLength(2)
    expect(logged()).toContain(`"code":"HTTP_${status}"`)
    for (const secret of [...secrets, server.url.slice(7)]) expect(logged()).not.toContain(secret)
    // A query holds no content of a device: its failure is never a refusal.
    expect(await faultOf(history())).toMatchObject({ code: 'UNAVAILABLE' })
  })

  it.each([
    [200, 'an answer of another kind of server'],
    [301, 'a redirection'],
  ])('%i to a write is %s: UNAVAILABLE', async (status) => {
    await learnt()
    server.reply(writePath, answer(status, '<html></html>', { Location: `${server.url}/elsewhere` }))
    expect(await faultOf(write({ v: 1 }))).toMatchObject({
      code: 'UNAVAILABLE',
      cause: { code: `HTTP_${status}` },
    })
  })

  it.each([
    ['30', 30],
    ['1', 2],
    ['86400', 3600],
    ['a minute from now', 60],
    ['soon', 2],
  ])('passes on Retry-After: %s', async (header, seconds) => {
    await learnt()
    const isDate = header.startsWith('a minute')
    const sent = isDate ? new Date(Date.now() + 60_000).toUTCString() : header
    replyAll(answer(429, words, { 'Retry-After': sent }))
    for (const ask of [asks.write, asks.history, asks.remove]) {
      const { retryAfterS } = await faultOf((ask as () => Promise<unknown>)())
      // A date has whole seconds, and some time has passed since.
      expect(retryAfterS).toBeGreaterThanOrEqual(Math.min(seconds, 55))
      expect(retryAfterS).toBeLessThanOrEqual(seconds)
    }
  })

  it('fails a query that fails after its answer began, without a partial result', async () => {
    const rows = table({ _time: 'dateTime:RFC3339', _field: 'string', _value: 'double' }, [
      '1970-01-01T00:00:00.000000012Z',
      'v',
      '5',
    ])
    const failure = `#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n,error,reference\r\n,the server says a-value,\r\n`
    server.reply(queryPath, answer(200, `${rows}${failure}`))
    const error = await faultOf(store.fields(7))
    expect(error).toMatchObject({ code: 'UNAVAILABLE', cause: { code: 'FLUX_ERROR' } })
    expectSilent(error)
  })

  it.each([
    ['INFLUXQL_ERROR', { results: [{ statement_id: 0, error: 'the server says a-value' }] }],
    ['INFLUXQL_ERROR', { error: 'the server says a-value' }],
    ['NO_DATABASE', { results: [{ statement_id: 0, error: `database not found: ${at.bucket}` }] }],
    ['INCOMPLETE', { results: [{ statement_id: 0, series: [], partial: true }] }],
  ])('fails a query whose answer says so after it began: %s', async (code, failure) => {
    const begun = { name: 'm', tags: {}, columns: ['time', 'v'], values: [[12n, 5]] }
    const first = pack({ results: [{ statement_id: 0, series: [begun], partial: true }] })
    replyPoints(answer(200, Buffer.concat([first, pack(failure)])))
    const error = await faultOf(history())
    expect(error).toMatchObject({ code: 'UNAVAILABLE', cause: { code } })
    expectSilent(error)
  })
})

describe('a batch that is refused', () => {
  /** Stores good lines and refuses bad ones, as InfluxDB does with 422. */
  const partial =
    (stored: Set<string>, status = 422): Reply =>
    (response, heard) => {
      const all = heard.body.split('\n')
      const good = all.filter((line) => !line.includes('"bad"'))
      for (const line of good) stored.add(line)
      const [code, body] =
        good.length === all.length ? [204, undefined] : [status, { code: 'unprocessable entity' }]
      answer(code as number, body)(response, heard)
    }

  it.each([
    { messages: 100, bad: [37] },
    { messages: 64, bad: [0, 63] },
    { messages: 3, bad: [0, 1, 2] },
    { messages: 1, bad: [0] },
  ])(
    'of $messages entries is halved until $bad are alone: only they are refused',
    async ({ messages, bad }) => {
      const stored = new Set<string>()
      server.reply(writePath, partial(stored))
      const outcomes = await store.write(
        Array.from({ length: messages }, (_, n) =>
          entryOf({ v: bad.includes(n) ? 'bad' : 'good' }, BigInt(n + 1)),
        ),
      )
      expect(outcomes).toEqual(
        Array.from({ length: messages }, (_, n) => ({ refused: bad.includes(n) ? [0] : [] })),
      )
      expect(stored.size).toBe(messages - bad.length)
      const most = bad.length * 2 * Math.ceil(Math.log2(messages)) + 1
      expect(server.at(writePath).length).toBeLessThanOrEqual(most)
    },
  )

  it('names the refused reading of an entry and keeps its other readings', async () => {
    const stored = new Set<string>()
    server.reply(writePath, partial(stored))
    const readings = [reading(1n, { v: 'good' }), reading(2n, { v: 'bad' })]
    expect(await store.write([entryOf({ v: 'good' }, 3n), entry({ readings })])).toEqual([
      { refused: [] },
      { refused: [1] },
    ])
    expect(stored.size).toBe(2)
  })

  it('is halved when it is too large, and all of it is stored', async () => {
    const stored = new Set<string>()
    server.reply(writePath, (response, heard) => {
      if (heard.body.length > 500) return answer(413, { code: 'request too large' })(response, heard)
      partial(stored)(response, heard)
    })
    await store.write(Array.from({ length: 40 }, (_, n) => entryOf({ v: n }, BigInt(n + 1))))
    expect(stored.size).toBe(40)
  })

  it('tells refused readings apart from those that met a failing server', async () => {
    server.reply(writePath, (response, heard) => {
      const trouble = heard.body.includes('"trouble"')
      answer(heard.body.includes('\n') ? 422 : trouble ? 503 : 400, {})(response, heard)
    })
    const outcomes = await store.write([entryOf({ v: 'bad' }, 1n), entryOf({ v: 'trouble' }, 2n)])
    expect(wordsOf(outcomes)).toEqual(['refused', 'unavailable'])
  })

  it('is sent once when the server fails: halves would fail as well', async () => {
    server.reply(writePath, answer(503))
    const outcomes = await store.write([1n, 2n, 3n, 4n].map((time) => entryOf({ v: 1 }, time)))
    expect(wordsOf(outcomes)).toEqual(Array(4).fill('unavailable'))
    expect(server.at(writePath)).toHaveLength(1)
    server.reply(writePath, answer(204))
    await write({ v: 1 })
  })
})

it('sends batches one after the other, in the order of their writes', async () => {
  await write({ v: 0 })
  const finish: (() => void)[] = []
  server.reply(writePath, (response, heard) => {
    finish.push(() => answer(204)(response, heard))
  })
  const writing = [1, 2, 3].map((v) => write({ v }))
  for (let count = 1; count <= 3; count += 1) {
    while (finish.length < count) await sleep(5)
    expect(server.at(writePath).at(-1)?.body).toContain(`,v=${count} `)
    expect(server.at(writePath)).toHaveLength(count + 1)
    finish[count - 1]?.()
  }
  await Promise.all(writing)
})

describe('a large batch', () => {
  const large = () =>
    Array.from({ length: 40 }, (_, n) =>
      entry({
        readings: Array.from({ length: 20 }, (_one, at) =>
          reading(BigInt(n * 20 + at + 1), { v: 'x'.repeat(4000) }),
        ),
      }),
    )

  it('is sent in requests of at most a million characters, in its order', async () => {
    expect(wordsOf(await store.write(large()))).toEqual(Array(40).fill('stored'))
    const bodies = server.at(writePath).map(({ body }) => body)
    expect(bodies.map((body) => body.length).every((length) => length <= 1_000_000)).toBe(true)
    expect(bodies.length).toBe(4)
    const times = bodies.flatMap((body) => body.split('\n').map((line) => Number(line.split(' ').at(-1))))
    expect(times).toEqual(Array.from({ length: 800 }, (_, n) => n + 1))
  })

  it('sends nothing more after a failure: entries of the requests before it are stored', async () => {
    await write({ v: 1 })
    server.reply(writePath, (response, heard) =>
      answer(server.at(writePath).length === 3 ? 503 : 204)(response, heard),
    )
    const outcomes = wordsOf(await store.write(large()))
    const stored = outcomes.indexOf('unavailable')
    expect(outcomes).toEqual([...Array(stored).fill('stored'), ...Array(40 - stored).fill('unavailable')])
    expect(stored).toBe(Math.floor((server.at(writePath)[1]?.body.split('\n').length ?? 0) / 20))
    expect(server.at(writePath)).toHaveLength(3)
  })

  it('sends a line that is longer than a request alone', async () => {
    const fields = Object.fromEntries(Array.from({ length: 256 }, (_, n) => [`v${n}`, 'x'.repeat(4096)]))
    await store.write([entryOf({ a: 1 }, 1n), entryOf(fields, 2n), entryOf({ a: 1 }, 3n)])
    expect(server.at(writePath).map(({ body }) => body.split('\n').length)).toEqual([1, 1, 1])
  })
})

describe('a server that does not answer', () => {
  const timeoutMs = { write: 150, query: 150 }
  const quiet = async () => {
    for (let tries = 0; server.open() > 0 && tries < 3000; tries += 1) await sleep(10)
    return server.open()
  }

  it('fails a write after the time for writes, and its connection is closed', async () => {
    await store.close()
    store = open({ timeoutMs: { write: 150, query: 60_000 } })
    await write({ v: 1 })
    server.reply(writePath, silence)
    const began = performance.now()
    // Before the 10 s of the library.
    const error = await Promise.race([faultOf(write({ v: 2 })), sleep(9000, 'late', { ref: false })])
    expect(error).toMatchObject({ code: 'UNAVAILABLE', cause: { code: 'RequestTimedOutError' } })
    expect(performance.now() - began).toBeGreaterThanOrEqual(149)
    expect(await quiet()).toBe(0)
    server.reply(writePath, answer(204))
    await write({ v: 3 })
  })

  it('fails a query after the time for queries', async () => {
    await store.close()
    store = open({ timeoutMs: { write: 60_000, query: 150 } })
    server.reply(queryPath, silence)
    replyPoints(silence)
    for (const ask of [() => history(), () => store.latest(7, last), () => store.check()])
      expect(await faultOf(ask())).toMatchObject({
        code: 'UNAVAILABLE',
        cause: { code: 'RequestTimedOutError' },
      })
    expect(await quiet()).toBe(0)
  })

  it('fails a query whose answer stops in the middle', async () => {
    await store.close()
    store = open({ timeoutMs })
    server.reply(queryPath, (response) => {
      response.writeHead(200, { 'Content-Type': 'text/csv' }).write('#datatype,string')
    })
    replyPoints((response) => {
      response
        .writeHead(200, { 'Content-Type': 'application/x-msgpack' })
        .write(packedSeries([]).subarray(0, 5))
    })
    for (const ask of [() => history(), () => store.count(7)])
      expect(await faultOf(ask())).toMatchObject({ code: 'UNAVAILABLE' })
    expect(await quiet()).toBe(0)
  })

  it('fails a query when it cuts the connection in the middle of its answer', async () => {
    const whole = packedSeries([{ columns: ['v'], values: [12n, 13n].map((time) => [time, 5]) }])
    await write({ v: 1 })
    for (const end of [whole.length, whole.length - 20, 40, 1]) {
      replyPoints(cutAnswer(200, whole.subarray(0, end)))
      expect(await faultOf(history())).toMatchObject({ code: 'UNAVAILABLE' })
    }
    server.reply(queryPath, cutAnswer(200, '#datatype,string'))
    expect(await faultOf(store.count(7))).toMatchObject({ code: 'UNAVAILABLE' })
    server.reply(writePath, cutAnswer(503, '{"message":'))
    expect(await faultOf(write({ v: 2 }))).toMatchObject({ code: 'UNAVAILABLE' })
    server.reply(writePath, cutAnswer(400, '{"message":'))
    // The rest of the answer is unknown, so that it does not count as a refusal.
    expect(await faultOf(write({ v: 2 }))).toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('fails the whole batch when it cuts the connection in the middle of the request', async () => {
    await write({ v: 1 })
    server.cutRequests(writePath)
    const outcomes = await store.write(
      Array.from({ length: 100 }, (_, n) => entryOf({ v: `${n}`.repeat(1000) }, BigInt(n + 1))),
    )
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({
        unavailable: { code: 'UNAVAILABLE', cause: { code: expect.stringMatching(/^(ECONNRESET|EPIPE)$/) } },
      })
    server.cutRequests(undefined)
    await write({ v: 2 })
  })

  it('is reported at once when nothing listens there', async () => {
    const { url } = server
    await server.end()
    expect(await faultOf(write({ v: 1 }))).toMatchObject({
      code: 'UNAVAILABLE',
      cause: { code: 'ECONNREFUSED' },
    })
    expect(await faultOf(history())).toMatchObject({ code: 'UNAVAILABLE', cause: { code: 'ECONNREFUSED' } })
    expect(logged()).not.toContain(url.slice(7))
    server = await startInfluxServer()
  })

  it('accepts no more queries than may run at the same time', async () => {
    await store.close()
    store = open({ timeoutMs, maxQueries: 2 })
    replyPoints(silence)
    const asked = [history(), history(), history()].map(faultOf)
    expect((await Promise.all(asked)).map(({ cause }) => cause === undefined)).toEqual([false, false, true])
  })

  it('lets a running write end before the store closes', async () => {
    await write({ v: 1 })
    let finish = () => {}
    server.reply(writePath, (response, heard) => {
      finish = () => answer(204)(response, heard)
    })
    const writing = write({ v: 2 })
    while (server.at(writePath).length < 2) await sleep(5)
    const closing = store.close()
    finish()
    await closing
    expect(await writing).toEqual([])
  })
})

describe('a bucket', () => {
  const [bucketsPath, orgsPath] = ['/api/v2/buckets', '/api/v2/orgs']
  const bucket = (everySeconds: number) => ({
    id: '0123456789abcdef',
    name: at.bucket,
    retentionRules: everySeconds === 0 ? [] : [{ type: 'expire', everySeconds }],
  })
  const day = 86_400_000
  const prepare = (retentionMs = 30 * day) => prepareInflux({ ...at, url: server.url }, retentionMs, log)
  const done = () => server.heard.map(({ method, path }) => `${method} ${path}`)
  /** Answers GET with the list of buckets, and every other method with `changed`. */
  const listed = (found: unknown, changed: Reply = answer(201, bucket(1))): Reply => {
    const list = answer(200, { buckets: found })
    return (response, heard) => (heard.method === 'GET' ? list : changed)(response, heard)
  }

  it('that is missing is created with its retention', async () => {
    server.reply(bucketsPath, listed([]))
    server.reply(orgsPath, answer(200, { orgs: [{ id: 'fedcba9876543210', name: at.org }] }))
    await prepare()
    expect(done()).toEqual([`GET ${bucketsPath}`, `GET ${orgsPath}`, `POST ${bucketsPath}`])
    expect(server.heard[0]?.parameters).toEqual({ org: at.org, name: at.bucket })
    expect(JSON.parse(server.heard[2]?.body ?? '')).toEqual({
      orgID: 'fedcba9876543210',
      name: at.bucket,
      retentionRules: [{ type: 'expire', everySeconds: 30 * 86_400 }],
    })
    for (const { headers } of server.heard) expect(headers.authorization).toBe(`Token ${token}`)
  })

  it('that is answered with 404 is created, too', async () => {
    server.reply(bucketsPath, (response, heard) =>
      answer(heard.method === 'GET' ? 404 : 201, bucket(1))(response, heard),
    )
    server.reply(orgsPath, answer(200, { orgs: [{ id: 'fedcba9876543210' }] }))
    await prepare()
    expect(done().at(-1)).toBe(`POST ${bucketsPath}`)
  })

  it('keeps for ever with a retention of 0', async () => {
    server.reply(bucketsPath, listed([bucket(0)]))
    await prepare(0)
    expect(done()).toEqual([`GET ${bucketsPath}`])
  })

  it('keeps its retention when it is right, otherwise the retention is set', async () => {
    server.reply(bucketsPath, listed([bucket(86_400)]))
    server.reply(`${bucketsPath}/0123456789abcdef`, answer(200, bucket(2 * 86_400)))
    await prepare(day)
    expect(done()).toEqual([`GET ${bucketsPath}`])
    await prepare(2 * day)
    expect(done().slice(1)).toEqual([`GET ${bucketsPath}`, `PATCH ${bucketsPath}/0123456789abcdef`])
    expect(JSON.parse(server.heard[2]?.body ?? '')).toEqual({
      retentionRules: [{ type: 'expire', everySeconds: 2 * 86_400 }],
    })
  })

  it.each([401, 403])('keeps its retention when the token may not change it: %i', async (status) => {
    server.reply(bucketsPath, listed([bucket(86_400)]))
    server.reply(`${bucketsPath}/0123456789abcdef`, answer(status, { message: 'the server says' }))
    await prepare()
    expect(logged()).toContain('the token may not change the retention of the bucket')
  })

  it.each([401, 403, 404, 500, 503])('cannot be prepared when the server answers %i', async (status) => {
    for (const path of [bucketsPath, orgsPath])
      server.reply(path, answer(status, { message: `the server says ${token}` }))
    const error = await prepare().catch((reason: unknown) => reason)
    expect(error).toMatchObject({
      name: 'InfluxFault',
      code: `HTTP_${status}`,
      message: `InfluxDB: HTTP_${status}`,
    })
    expect(JSON.stringify(error) + logged()).not.toContain('the server says')
  })
})
