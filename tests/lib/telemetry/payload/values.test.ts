import { describe, expect, it } from 'vitest'
import { fieldsOf, metadataOf, one, parse, receivedAt, rejection, warningsOf } from './parsing.ts'

describe('names', () => {
  it('are kept in any script, also in nested objects and in arrays', () => {
    const data = {
      'relay/0': 1,
      'LW setpoint (main)': 35.5,
      温度: 21.5,
      'PM2.5': 8,
      a: { 'b c': [{ é: 1 }] },
    }
    const { a, ...flat } = data
    for (const body of [data, { data }]) {
      expect(fieldsOf(body)).toEqual({ ...flat, 'a.b c.0.é': 1 })
      expect(warningsOf(body)).toEqual([])
    }
  })

  it('that change are said', () => {
    expect(fieldsOf({ data: { 'a"b': 1, _c: { d: 2 } }, '🌡': { e: 3 } })).toEqual({
      a_b: 1,
      'c.d': 2,
      '.e': 3,
    })
    expect(parse({ data: { 'a"b': 1 } }).warnings).toEqual([
      { index: 0, path: 'data.a"b', code: 'NAME_CHANGED', message: 'is taken as a_b' },
    ])
    expect(warningsOf({ 'Cafe\u0301': 1 })).toEqual([])
  })

  it('that become one keep the first value', () => {
    const body = { 'a.b': 1, a: { b: 2 }, 'x"': 3, "x'": 4 }
    expect(fieldsOf(body)).toEqual({ 'a.b': 1, x_: 3 })
    expect(warningsOf(body)).toEqual([
      'NAME_CLASH a.b',
      'NAME_CHANGED x"',
      "NAME_CHANGED x'",
      "NAME_CLASH x'",
    ])
  })

  it('that are empty or too long are left out', () => {
    const long = 'x'.repeat(129)
    const body = { ok: 1, '': 2, _: 3, [long]: 4, [`${'y'.repeat(126)}`]: { zz: 5 } }
    expect(fieldsOf(body)).toEqual({ ok: 1 })
    expect(warningsOf(body)).toEqual([
      'NAME_INVALID',
      'NAME_INVALID _',
      `NAME_INVALID ${'x'.repeat(128)}…`,
      `NAME_INVALID ${'y'.repeat(126)}.z…`,
    ])
  })

  it('that begin too long leave out all that is nested, with one warning', () => {
    const long = 'é'.repeat(127)
    const body = { ok: 1, [long]: { a: 1, b: [1, 2] }, metadata: { [long]: [1, 2] } }
    expect(one(body).reading).toMatchObject({ fields: { ok: 1 }, metadata: undefined })
    expect(warningsOf(body)).toEqual([`NAME_INVALID ${long}`, `NAME_INVALID metadata.${long.slice(0, 119)}…`])
    expect(fieldsOf({ ['e\u0301'.repeat(126)]: { a: 1 } })).toEqual({ [`${long.slice(1)}.a`]: 1 })
    expect(fieldsOf({ ['_'.repeat(500)]: { a: 1 } })).toEqual({ '.a': 1 })
  })

  it('are shown without halves of characters', () => {
    const [warning] = parse({ t: 1, [`${'a'.repeat(127)}😀b`]: 1, '\ud800x': 1 }).warnings
    expect(warning?.path.isWellFormed()).toBe(true)
  })

  it('that objects of JavaScript have are names like others', () => {
    expect(fieldsOf(JSON.parse('{"data":{"constructor":1,"hasOwnProperty":2,"a":{"__proto__":3}}}'))).toEqual(
      JSON.parse('{"constructor":1,"hasOwnProperty":2,"a.__proto__":3}'),
    )
    expect(fieldsOf(JSON.parse('{"__proto__":{"t":1},"metadata":{"__proto__":"x"}}'))).toEqual({
      'proto__.t': 1,
    })
    expect(({} as Record<string, unknown>).t).toBeUndefined()
  })
})

describe('reserved names', () => {
  it.each(['device_id', 'device_type', 'location', 'received_at', 'metadata', 'meta_x'])(
    '%s is metadata as a scalar, and fields as an array or object',
    (name) => {
      for (const body of [{ t: 1, [name]: 'Indoor' }, { data: { t: 1, [name]: 'Indoor' } }]) {
        expect(fieldsOf(body)).toEqual({ t: 1 })
        expect(metadataOf(body)).toEqual({ [name]: 'Indoor' })
        expect(warningsOf(body)).toEqual([])
      }
      expect(metadataOf({ t: 1, [name]: 7 })).toEqual({ [name]: '7' })
      if (name !== 'meta_x') expect(fieldsOf({ data: { [name]: [5] } })).toEqual({ [`${name}.0`]: 5 })
    },
  )

  it('that are objects flatten, and only `metadata` stays metadata', () => {
    expect(fieldsOf({ location: { latitude: 52.5, longitude: 13.4, label: 'Lab' } })).toEqual({
      'location.latitude': 52.5,
      'location.longitude': 13.4,
      'location.label': 'Lab',
    })
    expect(one({ t: 1, meta_x: { a: 1 } }).reading).toMatchObject({
      fields: { t: 1 },
      metadata: { 'meta_x.a': '1' },
    })
    for (const body of [
      { t: 1, metadata: { room: 'Lab' } },
      { data: { t: 1, metadata: { room: 'Lab' } } },
      { data: { t: 1 }, metadata: { room: 'Lab' } },
      { values: { t: 1 }, metadata: { room: 'Lab' } },
    ])
      expect(one(body).reading).toMatchObject({ fields: { t: 1 }, metadata: { room: 'Lab' } })
  })

  it('are decided on the name after its changes', () => {
    expect(one({ t: 1, _location: 'Lab', ' ts': receivedAt }).reading).toEqual({
      time: BigInt(receivedAt) * 1_000_000n,
      fields: { t: 1 },
      metadata: { location: 'Lab' },
    })
    expect(one({ t: 1, __meta_a: 2 }).reading.metadata).toEqual({ meta_a: '2' })
  })

  it('are not reserved deeper down', () => {
    expect(fieldsOf({ data: { gps: { time: 1, location: 'x' } } })).toEqual({
      'gps.time': 1,
      'gps.location': 'x',
    })
  })
})

describe('values', () => {
  it('are numbers, truth values and strings; null is skipped', () => {
    const data = { n: 21.5, i: -3, yes: true, no: false, text: 'ü', empty: '', none: null }
    const { none, ...kept } = data
    expect(none).toBeNull()
    expect(fieldsOf({ data })).toEqual(kept)
    expect(warningsOf({ data })).toEqual([])
    expect(fieldsOf({ a: [null, 1, [], {}, null] })).toEqual({ 'a.1': 1 })
  })

  it('have no negative zero', () => {
    expect(Object.is(fieldsOf({ t: -0 }).t, 0)).toBe(true)
  })

  it.each(['1e999', '-1e999'])('are not %s, which is left out', (text) => {
    const body = JSON.parse(`{"data":{"t":${text},"u":1}}`)
    expect(fieldsOf(body)).toEqual({ u: 1 })
    expect(warningsOf(body)).toEqual(['VALUE_INVALID data.t'])
  })

  it('are flattened: objects by names, arrays by places', () => {
    expect(
      fieldsOf({
        apower: 41.2,
        aenergy: { total: 123.5, by_minute: [0, 1.5, 2] },
        ENERGY: { Power: [10, 0, 3] },
      }),
    ).toEqual({
      apower: 41.2,
      'aenergy.total': 123.5,
      'aenergy.by_minute.0': 0,
      'aenergy.by_minute.1': 1.5,
      'aenergy.by_minute.2': 2,
      'ENERGY.Power.0': 10,
      'ENERGY.Power.1': 0,
      'ENERGY.Power.2': 3,
    })
    expect(fieldsOf({ d: [{ id: 'a', v: 1 }, [2]] })).toEqual({ 'd.0.id': 'a', 'd.0.v': 1, 'd.1.0': 2 })
  })

  it('may be 4096 bytes of text; longer ones are left out', () => {
    const ok = { ascii: 'x'.repeat(4096), wide: 'é'.repeat(2048), wider: '温'.repeat(1365) }
    expect(fieldsOf({ data: ok })).toEqual(ok)
    const long = { t: 1, ascii: 'x'.repeat(4097), wide: 'é'.repeat(2049), wider: '温'.repeat(1366) }
    expect(fieldsOf({ data: long })).toEqual({ t: 1 })
    expect(warningsOf({ data: long })).toEqual([
      'VALUE_INVALID data.ascii',
      'VALUE_INVALID data.wide',
      'VALUE_INVALID data.wider',
    ])
  })

  it('that hold half a character get U+FFFD', () => {
    const body = JSON.parse('{"t":"a\\ud800","metadata":{"m":"\\udc00"}}')
    expect(one(body).reading).toMatchObject({ fields: { t: 'a\ufffd' }, metadata: { m: '\ufffd' } })
    expect(warningsOf(body)).toEqual(['INVALID_UTF8 t', 'INVALID_UTF8 metadata.m'])
  })

  it('may be nested as deep as their name allows', () => {
    const nest = (depth: number): unknown => (depth === 0 ? 1 : { a: nest(depth - 1) })
    expect(Object.keys(fieldsOf({ data: nest(64) }))).toEqual([Array(64).fill('a').join('.')])
    expect(warningsOf({ t: 1, deep: nest(63) })).toEqual([expect.stringMatching(/^NAME_INVALID deep\.a/)])
  })

  it('may be 256 of one reading; the rest is left out, but not the time', () => {
    const data = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`f${i}`, i]))
    expect(Object.keys(fieldsOf({ data: data(256) }))).toHaveLength(256)
    expect(warningsOf({ data: data(256) })).toEqual([])
    const body = { a: data(200), b: data(58), ts: receivedAt - 1, room: [] }
    const { reading } = one(body)
    expect(Object.keys(reading.fields)).toHaveLength(256)
    expect(reading.time).toBe(BigInt(receivedAt - 1) * 1_000_000n)
    expect(warningsOf(body)).toEqual(['TOO_MANY_FIELDS b.f56', 'TOO_MANY_FIELDS b.f57'])
  })

  it('that are left out are named up to fifty; the rest is counted', () => {
    const bad = Object.fromEntries(Array.from({ length: 80 }, (_, i) => [`f${i}`, 'x'.repeat(5000)]))
    const { warnings } = parse({ t: 1, data: bad })
    expect(warnings).toHaveLength(51)
    expect(warnings.at(-1)).toEqual({
      index: 0,
      path: '',
      code: 'MORE_WARNINGS',
      message: 'has 30 more warnings',
    })
    expect(rejection({ data: bad }).message).toContain('and 50 more problems')
  })
})

describe('metadata', () => {
  const ofMetadata = (metadata: unknown, more = {}) => metadataOf({ data: { t: 1 }, metadata }, more)

  it('is scalars, read back as strings', () => {
    expect(ofMetadata({ room: 'Lab', floor: 2, open: true, none: null })).toEqual({
      room: 'Lab',
      floor: '2',
      open: 'true',
    })
    for (const nothing of [undefined, null, {}, { a: null, b: {} }])
      expect(ofMetadata(nothing)).toBeUndefined()
  })

  it('of objects and arrays is flattened', () => {
    expect(ofMetadata({ fw: { version: '1.4', tags: ['a', 'b'] } })).toEqual({
      'fw.version': '1.4',
      'fw.tags.0': 'a',
      'fw.tags.1': 'b',
    })
  })

  it('holds the subtopic, which no device can take', () => {
    const body = { data: { t: 1 }, metadata: { subtopic: 'mine', by: 'x' } }
    expect(metadataOf(body, { subtopic: 'sensors' })).toEqual({ subtopic: 'sensors', by: 'x' })
    expect(warningsOf(body, { subtopic: 'sensors' })).toEqual(['NAME_CLASH metadata.subtopic'])
    expect(metadataOf({ t: 1 }, { subtopic: 'sensors/a' })).toEqual({ subtopic: 'sensors/a' })
  })

  it('has at most 32 entries of the device', () => {
    const metadata = Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`m${i}`, i]))
    const body = { data: { t: 1 }, metadata, device_id: 5 }
    expect(Object.keys(metadataOf(body, { subtopic: 'sub' }) ?? {})).toHaveLength(33)
    expect(warningsOf(body)).toEqual(['TOO_MUCH_METADATA metadata.m32', 'TOO_MUCH_METADATA device_id'])
  })

  it.each([
    [{ a: 'x'.repeat(4097) }, 'METADATA_INVALID metadata.a'],
    [{ a: Number.POSITIVE_INFINITY }, 'METADATA_INVALID metadata.a'],
    [{ '': 1 }, 'NAME_INVALID metadata.'],
    [{ ['x'.repeat(129)]: 1 }, `NAME_INVALID metadata.${'x'.repeat(119)}…`],
  ])('leaves out %j', (metadata, warning) => {
    expect(ofMetadata(metadata)).toBeUndefined()
    expect(warningsOf({ data: { t: 1 }, metadata })).toEqual([warning])
  })

  it('has names by the same rule', () => {
    expect(ofMetadata({ _a: 1, 'b c': 2, 'd"': 3 })).toEqual({ a: '1', 'b c': '2', d_: '3' })
    expect(warningsOf({ data: { t: 1 }, metadata: { _a: 1, 'b c': 2, 'd"': 3 } })).toEqual([
      'NAME_CHANGED metadata._a',
      'NAME_CHANGED metadata.d"',
    ])
  })
})
