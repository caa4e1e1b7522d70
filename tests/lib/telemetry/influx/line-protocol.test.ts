/** Lines that the store builds itself, compared with those of the client library's `Point`. */
import { Point } from '@influxdata/influxdb-client'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { FieldKinds } from '../../../../lib/telemetry/influx/field-kinds.ts'
import { toLines } from '../../../../lib/telemetry/influx/line-protocol.ts'
import { decodeText, encodeTag, encodeText } from '../../../../lib/telemetry/influx/text.ts'
import type { FieldValue } from '../../../../lib/telemetry/reading.ts'
import type { WriteEntry } from '../../../../lib/telemetry/store.ts'

const knowNothing = () => new FieldKinds(() => Promise.resolve(), 60_000)

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.string({ unit: fc.constantFrom(...'\\", =\n\r\t|\uE00D2a'), maxLength: 12 }),
)
/** `Point` itself loses a field named `__proto__`. */
const name = fc.oneof(
  fc.constantFrom('t', 'a.b', '1'),
  text.filter((one) => one !== '' && one !== '__proto__'),
)
const value: fc.Arbitrary<FieldValue> = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.boolean(),
  text,
)
const entries: fc.Arbitrary<WriteEntry> = fc.record({
  deviceId: fc.nat(),
  deviceType: text,
  location: fc.option(text),
  receivedAt: fc.nat({ max: 4_000_000_000_000 }),
  readings: fc.array(
    fc.record({
      time: fc.bigInt({ min: 0n, max: 2n ** 62n }),
      fields: fc.dictionary(name, value, { minKeys: 1, maxKeys: 5 }),
      metadata: fc.option(fc.dictionary(name, text, { maxKeys: 3 }), { nil: undefined }),
    }),
    { maxLength: 3 },
  ),
})

/** One field as `Point` writes it. It sorts the fields of a point, so that each gets a point of its own here. */
const fieldOf = (set: (point: Point) => Point): string => {
  const line = set(new Point('m')).timestamp('').toLineProtocol() ?? ''
  return line.slice('m '.length).trimEnd()
}

/** Lines as the client library would build them. */
const linesOfPoints = ({ deviceId, deviceType, location, receivedAt, readings }: WriteEntry): string[] => {
  const kindsOf = new Map<string, Set<string>>()
  const series = new Point('device_telemetry')
    .tag('device_id', String(deviceId))
    .tag('device_type', encodeTag(deviceType))
    .intField('received_at', receivedAt)
    .timestamp('')
  if (location !== null) series.tag('location', encodeTag(location))
  return readings.map(({ time, fields, metadata }) => {
    const all: string[] = []
    for (const [field, one] of Object.entries(fields)) {
      const kind = typeof one === 'number' ? 'n' : typeof one === 'string' ? 's' : 'b'
      if (typeof one === 'number') all.push(fieldOf((point) => point.floatField(field, one)))
      else if (typeof one === 'string')
        all.push(fieldOf((point) => point.stringField(`${field}|s`, encodeText(one))))
      else all.push(fieldOf((point) => point.booleanField(`${field}|b`, one)))
      const kinds = kindsOf.get(field) ?? new Set()
      kindsOf.set(field, kinds.add(kind))
      if (kinds.size > 1) all.push(fieldOf((point) => point.stringField(`${field}|k`, kind)))
    }
    for (const [field, one] of Object.entries(metadata ?? {}))
      all.push(fieldOf((point) => point.stringField(`meta_${field}`, encodeText(one))))
    return [series.toLineProtocol()?.trimEnd(), ...all].join(',').concat(` ${time}`)
  })
}

it('have the same tags, fields and escapes as those of the client library', () => {
  fc.assert(
    fc.property(entries, (entry) => {
      expect(toLines(entry, knowNothing())).toEqual(linesOfPoints(entry))
    }),
    { numRuns: 2000 },
  )
})

it('contain texts that InfluxDB gives back unchanged', () => {
  fc.assert(
    fc.property(text, (one) => {
      expect(decodeText(encodeText(one))).toBe(one)
      expect(encodeText(one)).not.toMatch(/\r|^$/)
    }),
  )
})
