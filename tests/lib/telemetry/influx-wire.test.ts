/** What the store on InfluxDB sends, byte for byte, and what becomes of each answer; no server needed. */
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AppError } from '../../../lib/errors.ts'
import { createLog } from '../../../lib/log.ts'
import { type InfluxOptions, openInfluxStore, prepareInflux } from '../../../lib/telemetry/influx.ts'
import type { FieldValue, Reading } from '../../../lib/telemetry/reading.ts'
import { aggregations, type TelemetryStore, type WriteEntry } from '../../../lib/telemetry/store.ts'
import {
  answer,
  cutAnswer,
  type Heard,
  type InfluxServer,
  type Reply,
  silence,
  startInfluxServer,
  table,
} from '../../support/influx-server.ts'

const token = 'secret-token-of-the-test'
const at = { org: 'our & org', bucket: 'a "bucket"', token }
const [writePath, queryPath, deletePath] = ['/api/v2/write', '/api/v2/query', '/api/v2/delete']
const range = { from: 10n, to: 20n }

let server: InfluxServer
let store: TelemetryStore
let lines: string[]

const logged = () => {
  log.flush()
  return lines.join('')
}
const log = createLog('debug', (text) => void lines.push(text))

const open = (more: Partial<InfluxOptions> = {}) =>
  openInfluxStore({ at: { ...at, url: server.url }, log, ...more })

beforeEach(async () => {
  lines = []
  server = await startInfluxServer()
  store = open()
})
afterEach(async () => {
  // Ends the answers that a test never gave.
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
const write = (fields: Record<string, FieldValue>, time = 1n) =>
  store.write(entry({ readings: [reading(time, fields)] }))
const history = (more: Partial<Parameters<TelemetryStore['history']>[0]> = {}) =>
  store.history({ deviceId: 7, ...range, fields: undefined, limit: 100, order: 'asc', ...more })

/** The rejection; a failure of the test when there is none. */
const faultOf = async (outcome: Promise<unknown>): Promise<AppError> => {
  const error = await outcome.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof AppError)) throw new Error(`not an AppError: ${String(error)}`)
  return error
}

const scriptOf = ({ body }: Heard) => (JSON.parse(body) as { query: string }).query
/** Blanks and line ends between words say nothing. */
const plain = (script: string) => script.replace(/\s+/g, ' ').trim()
const scripts = () =>
  server
    .at(queryPath)
    .map((heard) => plain(scriptOf(heard)))
    .filter((script) => !script.startsWith('import'))

describe('what is written', () => {
  const sent = () => server.at(writePath).map(({ body }) => body)

  it('is line protocol: typed names, tags and strings escaped, nanoseconds', async () => {
    await store.write(
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
        `${tags} huge=1.7976931348623157e+308,meta_subtopic="a, b=\\"c\\"\\\\",off|b=F,on|b=T,part=-0.5,received_at=1700000000123i,tiny=5e-324,whole=21 1700000000123456789`,
        `${tags} a.b-c:d_e=1,empty|s="\uE00D2",received_at=1700000000123i,text|s="a \\"b\\" \\\\ c, d=e\nf\uE00D0\tü 温 🌡",x|y=1 2`,
      ].join('\n'),
    ])
  })

  it('has no tag for a place that is not known', async () => {
    await store.write(entry({ location: null }))
    expect(sent()).toEqual([
      'device_telemetry,device_id=7,device_type=sensor received_at=1700000000123i,v=1 1',
    ])
  })

  it('has a tag for a place without a name', async () => {
    await store.write(entry({ location: '' }))
    expect(sent()[0]).toContain(',location=\uE00D2 ')
  })

  it('says which kind was written last, where a field has values of several', async () => {
    await write({ v: 1, w: 1 })
    await write({ v: 'x', w: 2 })
    await write({ v: 3 })
    await write({ v: true })
    expect(sent().map((body) => body.split(' ')[1])).toEqual([
      'received_at=1700000000123i,v=1,w=1',
      'received_at=1700000000123i,v|k="s",v|s="x",w=2',
      'received_at=1700000000123i,v=3,v|k="n"',
      'received_at=1700000000123i,v|b=T,v|k="b"',
    ])
  })

  it('knows the kinds that others wrote before the first write is sent', async () => {
    const keys = [['v|s'], ['received_at'], ['meta_a'], ['w|k'], ['w']]
    server.reply(queryPath, answer(200, table({ _value: 'string' }, ...keys)))
    await write({ v: 1, w: 2 })
    expect(server.heard.map(({ path }) => path)).toEqual([queryPath, writePath])
    expect(plain(scriptOf(server.heard[0] as Heard))).toBe(
      'import "influxdata/influxdb/schema" schema.measurementFieldKeys(bucket: "a \\"bucket\\"", measurement: "device_telemetry", start: time(v: 0))',
    )
    expect(sent()[0]).toContain('v=1,v|k="n",w=2 1')
  })

  it('names organization, bucket and precision, and who sends it', async () => {
    await write({ v: 1 })
    const [heard] = server.at(writePath)
    expect(heard).toMatchObject({
      method: 'POST',
      parameters: { org: 'our & org', bucket: 'a "bucket"', precision: 'ns' },
      headers: { authorization: `Token ${token}`, 'content-type': 'text/plain; charset=utf-8' },
    })
  })

  it('is compressed from 1000 bytes on', async () => {
    const bare =
      'device_telemetry,device_id=7,device_type=sensor,location=Lab received_at=1700000000123i,v|s="" 1'
    await write({ v: 'a'.repeat(999 - bare.length) })
    await write({ v: 'a'.repeat(1000 - bare.length) })
    expect(server.at(writePath).map(({ compressed, body }) => [compressed, body.length])).toEqual([
      [false, 999],
      [true, 1000],
    ])
  })

  it('goes together when it comes together, over one connection that stays open', async () => {
    await write({ v: 0 })
    await Promise.all([1n, 2n, 3n].map((time) => write({ v: Number(time) }, time)))
    expect(sent().map((body) => body.split('\n').length)).toEqual([1, 3])
    for (let n = 0; n < 10; n += 1) {
      await write({ v: n })
      await history()
    }
    expect(new Set(server.heard.map(({ connection }) => connection))).toEqual(new Set([1]))
  })
})

describe('what is asked', () => {
  const ofDevice = (from: bigint, to: bigint) =>
    `from(bucket: "a \\"bucket\\"") |> range(start: time(v: ${from}), stop: time(v: ${to})) |> filter(fn: (r) => r._measurement == "device_telemetry" and r.device_id == "7")`
  const ofAll = (from: bigint, to: bigint) => ofDevice(from, to).replace(' and r.device_id == "7"', '')
  const named = (...names: string[]) =>
    ` |> filter(fn: (r) => ${names.map((name) => `r._field == "${name}"`).join(' or ')})`
  const kept = ' |> keep(columns: ["_time", "_field", "_value", "device_type", "location"])'
  const last = 9_223_372_036_854_775_806n

  it('carries the organization and the token', async () => {
    await history()
    expect(server.at(queryPath)[0]).toMatchObject({
      method: 'POST',
      parameters: { org: 'our & org' },
      headers: { authorization: `Token ${token}` },
    })
  })

  it('history', async () => {
    await history({ limit: 5 })
    await history({ limit: 5, order: 'desc' })
    await history({ limit: 5, fields: ['a', 'b.c'] })
    await history({ from: 20n, to: 10n })
    await history({ from: -5n, to: 2n ** 64n })
    const fields = named('a', 'a|s', 'a|b', 'a|k', 'b.c', 'b.c|s', 'b.c|b', 'b.c|k')
    expect(scripts()).toEqual([
      `${ofDevice(10n, 20n)} |> limit(n: 5)${kept}`,
      `${ofDevice(10n, 20n)} |> tail(n: 5)${kept}`,
      `${ofDevice(10n, 20n)}${fields} |> limit(n: 5)${kept}`,
      `${ofDevice(0n, last)} |> limit(n: 100)${kept}`,
    ])
  })

  it('what belongs to the readings of the fields asked for', async () => {
    const row = table({ _time: 'dateTime:RFC3339', _field: 'string', _value: 'double' }, [
      '1970-01-01T00:00:00.000000012Z',
      'a',
      '5',
    ])
    server.reply(queryPath, answer(200, row))
    expect(await history({ fields: ['a'], order: 'desc' })).toEqual([reading(12n, { a: 5 })])
    expect(scripts()[1]).toBe(
      `${ofDevice(12n, 13n)} |> filter(fn: (r) => r._field =~ /^(meta_.*|received_at)$/)${kept}`,
    )
  })

  it('the readings with their tags', async () => {
    await store.scan({ deviceId: 7, ...range, limit: 10 })
    await store.scan({ deviceId: 7, from: 20n, to: 10n, limit: 10 })
    expect(scripts()).toEqual([`${ofDevice(10n, 20n)} |> limit(n: 10)${kept}`])
  })

  it('the newest values', async () => {
    await store.latest(7)
    expect(scripts()).toEqual([`${ofDevice(0n, last)} |> last()${kept}`])
  })

  it.each(aggregations)('windows: %s', async (aggregation) => {
    const ask = { deviceId: 7, ...range, aggregation, window: 5n }
    await store.aggregate({ ...ask, field: 'a' })
    await store.aggregate({ ...ask, field: undefined })
    const fn =
      aggregation === 'median'
        ? '(column, tables=<-) => tables |> median(column: column, method: "exact_mean")'
        : aggregation
    const windows = ` |> aggregateWindow(every: duration(v: "5ns"), fn: ${fn}, createEmpty: false, timeSrc: "_start") |> keep(columns: ["_time", "_field", "_value"])`
    expect(scripts()).toEqual([
      `${ofDevice(10n, 20n)}${named('a', 'a|s', 'a|b', 'a|k')} |> first()${kept}`,
      `${ofDevice(10n, 20n)}${named('a')}${windows}`,
      `${ofDevice(10n, 20n)} |> first()${kept}`,
      `${ofDevice(10n, 20n)} |> filter(fn: (r) => r._field !~ /^(meta_.*|received_at|.*[|].*)$/)${windows}`,
    ])
  })

  it('counts', async () => {
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

  it('to delete: a range of one device, its end not included', async () => {
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

  /** A Flux script with its strings taken out, and what they say; a string that computes something is none. */
  const taken = (script: string) => {
    const strings: string[] = []
    const bare = script.replace(/"((?:[^"\\]|\\[\s\S])*)"/g, (_all, text: string) => {
      if (/(?<!\\)(?:\\\\)*\$\{/.test(text)) throw new Error(`computes: ${text}`)
      const escapes: Record<string, string> = { n: '\n', r: '\r', t: '\t' }
      strings.push(text.replace(/\\([\s\S])/g, (_one, after: string) => escapes[after] ?? after))
      return '""'
    })
    return { bare, strings }
  }

  it('never takes the name of a field for anything but a string', async () => {
    const hostile = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.string({
        unit: fc.constantFrom(...'"\\${}()|>\n\r\t /* */', 'die(msg: "x")', '${r}'),
        maxLength: 12,
      }),
    )
    const scriptsOf = async (name: string) => {
      const before = server.at(queryPath).length
      await history({ fields: [name] })
      await store.aggregate({ deviceId: 7, ...range, field: name, aggregation: 'sum', window: 5n })
      return server
        .at(queryPath)
        .slice(before)
        .map((heard) => taken(scriptOf(heard)))
    }
    const usual = await scriptsOf('plain')
    await fc.assert(
      fc.asyncProperty(hostile, async (name) => {
        const said = await scriptsOf(name)
        expect(said.map(({ bare }) => bare)).toEqual(usual.map(({ bare }) => bare))
        const expected = usual.map(({ strings }) =>
          strings.map((text) => text.replace(/^plain(?=$|\|)/, () => name.toWellFormed())),
        )
        expect(said.map(({ strings }) => strings)).toEqual(expected)
      }),
      { numRuns: 300 },
    )
  })
})

describe('an answer that is none of success', () => {
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
    latest: () => store.latest(7),
    aggregate: () => store.aggregate({ deviceId: 7, ...range, field: 'v', aggregation: 'sum', window: 5n }),
    count: () => store.count(7),
    devices: () => store.devices(),
    scan: () => store.scan({ deviceId: 7, ...range, limit: 10 }),
    countSince: () => store.countSince(5n),
    check: () => store.check(),
    remove: () => store.remove(7, range),
  }
  const paths = [writePath, queryPath, deletePath]
  const replyAll = (reply: Reply) => {
    for (const path of paths) server.reply(path, reply)
  }
  /** The fields of others are known, so that a write is not held up by a query. */
  const learnt = async () => {
    await write({ v: 'a-value' })
    lines = []
  }

  it.each([401, 403, 404, 429, 500, 502, 503])(
    '%i is not the fault of what was sent: UNAVAILABLE for everything',
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
      // Whoever sent it tries again, not we.
      expect(server.at(writePath)).toHaveLength(2)
    },
  )

  it.each([400, 413, 422])(
    '%i refuses what was sent: VALIDATION_FAILED, and nothing is tried again',
    async (status) => {
      await learnt()
      replyAll(answer(status, words))
      const error = await faultOf(write({ v: 'a-value' }))
      expect(error).toMatchObject({
        code: 'VALIDATION_FAILED',
        message: 'The telemetry store refused the reading.',
        retryAfterS: undefined,
        cause: { code: `HTTP_${status}` },
      })
      expectSilent(error)
      expect(server.at(writePath)).toHaveLength(2)
      // A question is never at fault: it is ours.
      expect(await faultOf(history())).toMatchObject({ code: 'UNAVAILABLE' })
    },
  )

  it.each([
    [200, 'a page that is no InfluxDB'],
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
  ])('says when to come again: Retry-After %s', async (header, seconds) => {
    await learnt()
    const isDate = header.startsWith('a minute')
    const sent = isDate ? new Date(Date.now() + 60_000).toUTCString() : header
    replyAll(answer(429, words, { 'Retry-After': sent }))
    for (const ask of [asks.write, asks.history, asks.remove]) {
      const { retryAfterS } = await faultOf((ask as () => Promise<unknown>)())
      // A date has whole seconds, and some of them have gone by.
      expect(retryAfterS).toBeGreaterThanOrEqual(Math.min(seconds, 55))
      expect(retryAfterS).toBeLessThanOrEqual(seconds)
    }
  })

  it('ends a query that fails after its answer began, and gives no part of it', async () => {
    const rows = table({ _time: 'dateTime:RFC3339', _field: 'string', _value: 'double' }, [
      '1970-01-01T00:00:00.000000012Z',
      'v',
      '5',
    ])
    const failure = `#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n,error,reference\r\n,the server says a-value,\r\n`
    server.reply(queryPath, answer(200, `${rows}${failure}`))
    const error = await faultOf(history())
    expect(error).toMatchObject({ code: 'UNAVAILABLE', cause: { code: 'FLUX_ERROR' } })
    expectSilent(error)
  })
})

describe('a group that is refused', () => {
  /** Stores what is good and refuses what is not, as InfluxDB does with 422. */
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
  ])('of $messages messages is halved until $bad are alone: only they fail', async ({ messages, bad }) => {
    const stored = new Set<string>()
    server.reply(writePath, partial(stored))
    const outcomes = await Promise.allSettled(
      Array.from({ length: messages }, (_, n) =>
        write({ v: bad.includes(n) ? 'bad' : 'good' }, BigInt(n + 1)),
      ),
    )
    const failed = outcomes.flatMap((outcome, n) =>
      outcome.status === 'rejected' ? [[n, outcome.reason.code]] : [],
    )
    expect(failed).toEqual(bad.map((n) => [n, 'VALIDATION_FAILED']))
    expect(stored.size).toBe(messages - bad.length)
    const most = bad.length * 2 * Math.ceil(Math.log2(messages)) + 1
    expect(server.at(writePath).length).toBeLessThanOrEqual(most)
  })

  it('keeps the good readings of a message whose other reading is refused', async () => {
    const stored = new Set<string>()
    server.reply(writePath, partial(stored))
    const readings = [reading(1n, { v: 'good' }), reading(2n, { v: 'bad' })]
    expect(await faultOf(store.write(entry({ readings })))).toMatchObject({ code: 'VALIDATION_FAILED' })
    expect([...stored]).toEqual([expect.stringContaining('"good"')])
  })

  it('is halved when it is too large, and all of it is stored', async () => {
    const stored = new Set<string>()
    server.reply(writePath, (response, heard) => {
      if (heard.body.length > 500) return answer(413, { code: 'request too large' })(response, heard)
      partial(stored)(response, heard)
    })
    await Promise.all(Array.from({ length: 40 }, (_, n) => write({ v: n }, BigInt(n + 1))))
    expect(stored.size).toBe(40)
  })

  it('tells those apart that were refused and those that met a server in trouble', async () => {
    server.reply(writePath, (response, heard) => {
      const trouble = heard.body.includes('"trouble"')
      answer(heard.body.includes('\n') ? 422 : trouble ? 503 : 400, {})(response, heard)
    })
    const [one, two] = await Promise.all([
      faultOf(write({ v: 'bad' }, 1n)),
      faultOf(write({ v: 'trouble' }, 2n)),
    ])
    expect([one.code, two.code]).toEqual(['VALIDATION_FAILED', 'UNAVAILABLE'])
  })

  it('is sent once when the server is in trouble: halves would fare no better', async () => {
    server.reply(writePath, answer(503))
    const outcomes = await Promise.allSettled([1n, 2n, 3n, 4n].map((time) => write({ v: 1 }, time)))
    expect(outcomes.map(({ status }) => status)).toEqual(Array(4).fill('rejected'))
    expect(server.at(writePath)).toHaveLength(1)
    server.reply(writePath, answer(204))
    await write({ v: 1 })
  })
})

describe('a server that does not answer', () => {
  const timeoutMs = { write: 150, query: 150 }
  const quiet = async () => {
    for (let tries = 0; server.open() > 0 && tries < 200; tries += 1) await sleep(10)
    return server.open()
  }

  it('is given up after the time for writes, and its connection closed', async () => {
    await store.close()
    store = open({ timeoutMs: { write: 150, query: 60_000 } })
    await write({ v: 1 })
    server.reply(writePath, silence)
    const began = performance.now()
    const error = await faultOf(write({ v: 2 }))
    expect(error).toMatchObject({ code: 'UNAVAILABLE', cause: { code: 'RequestTimedOutError' } })
    expect(performance.now() - began).toBeGreaterThanOrEqual(149)
    // Well below the 10 s of the library.
    expect(performance.now() - began).toBeLessThan(5000)
    expect(await quiet()).toBe(0)
    server.reply(writePath, answer(204))
    await write({ v: 3 })
  })

  it('is given up after the time for queries', async () => {
    await store.close()
    store = open({ timeoutMs: { write: 60_000, query: 150 } })
    server.reply(queryPath, silence)
    for (const ask of [() => history(), () => store.latest(7), () => store.check()])
      expect(await faultOf(ask())).toMatchObject({
        code: 'UNAVAILABLE',
        cause: { code: 'RequestTimedOutError' },
      })
    expect(await quiet()).toBe(0)
  })

  it('is given up when its answer stops in the middle', async () => {
    await store.close()
    store = open({ timeoutMs })
    server.reply(queryPath, (response) => {
      response.writeHead(200, { 'Content-Type': 'text/csv' }).write('#datatype,string')
    })
    expect(await faultOf(history())).toMatchObject({ code: 'UNAVAILABLE' })
    expect(await quiet()).toBe(0)
  })

  it('that cuts the connection in the middle of its answer gives no reading', async () => {
    const whole = table(
      { _time: 'dateTime:RFC3339', _field: 'string', _value: 'double' },
      ['1970-01-01T00:00:00.000000012Z', 'v', '5'],
      ['1970-01-01T00:00:00.000000013Z', 'v', '6'],
    )
    await write({ v: 1 })
    for (const end of [whole.length, whole.length - 20, 40, 0]) {
      server.reply(queryPath, cutAnswer(200, whole.slice(0, end) || ' '))
      expect(await faultOf(history())).toMatchObject({ code: 'UNAVAILABLE' })
    }
    server.reply(writePath, cutAnswer(503, '{"message":'))
    expect(await faultOf(write({ v: 2 }))).toMatchObject({ code: 'UNAVAILABLE' })
    server.reply(writePath, cutAnswer(400, '{"message":'))
    // Nobody knows what it was going to say: it is not taken for a refusal.
    expect(await faultOf(write({ v: 2 }))).toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('that cuts the connection in the middle of the request is tried again by whoever sent it', async () => {
    await write({ v: 1 })
    server.cutRequests(writePath)
    const large = Array.from({ length: 100 }, (_, n) => write({ v: `${n}`.repeat(1000) }, BigInt(n + 1)))
    for (const outcome of large)
      expect(await faultOf(outcome)).toMatchObject({
        code: 'UNAVAILABLE',
        cause: { code: expect.stringMatching(/^(ECONNRESET|EPIPE)$/) },
      })
    server.cutRequests(undefined)
    await write({ v: 2 })
  })

  it('or is not there at all is told at once', async () => {
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

  it('takes no more queries than may be under way, and no more writes than may wait', async () => {
    await store.close()
    store = open({ timeoutMs, maxQueries: 2, maxWaiting: 3 })
    await write({ v: 1 })
    for (const path of [queryPath, writePath]) server.reply(path, silence)
    const asked = [history(), history(), history()].map(faultOf)
    const written = [1n, 2n, 3n, 4n].map((time) => faultOf(write({ v: 1 }, time)))
    expect((await Promise.all(asked)).map(({ cause }) => cause === undefined)).toEqual([false, false, true])
    expect((await Promise.all(written)).map(({ cause }) => cause === undefined)).toEqual([
      false,
      false,
      false,
      true,
    ])
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
  /** Answers the list, and the change of it with `changed`. */
  const listed = (found: unknown, changed: Reply = answer(201, bucket(1))): Reply => {
    const list = answer(200, { buckets: found })
    return (response, heard) => (heard.method === 'GET' ? list : changed)(response, heard)
  }

  it('that is missing is made, with its retention', async () => {
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

  it('that is not found is made, too', async () => {
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

  it('with this retention is left alone, another one is set', async () => {
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

  it.each([401, 403])('whose retention the token may not change stays as it is: %i', async (status) => {
    server.reply(bucketsPath, listed([bucket(86_400)]))
    server.reply(`${bucketsPath}/0123456789abcdef`, answer(status, { message: 'the server says' }))
    await prepare()
    expect(logged()).toContain('the token may not change the retention of the bucket')
  })

  it.each([401, 403, 404, 500, 503])('is not prepared when the server answers %i', async (status) => {
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
