/** Messages for property tests: any JSON, with the names that have a meaning of their own. */
import fc from 'fast-check'
import { isFieldName, isReserved } from '../../lib/telemetry/payload/names.ts'

/** Names with every kind of character, reserved ones, and those of envelopes. */
const anyName = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom('data', 'measurements', 'values', 'batch', 'metadata', 'timestamp', 'ts', 'Time', 'tst'),
  fc.constantFrom(
    'age_ms',
    'location',
    'device_id',
    'message_id',
    'api_key',
    'meta_a',
    '_a',
    '__proto__',
    '',
  ),
  fc.constantFrom('n', 'bn', 'v', 'vs', 't', 'a.b', 'a', 'b', '0', '1'),
)
/** Values and objects of JSON that are nested, and hold what devices should not send. */
export const anyJson = fc.letrec<{ value: unknown; object: Record<string, unknown> }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.oneof(
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      fc.string({ unit: 'binary', maxLength: 10 }),
      fc.integer(),
    ),
    fc.array(tie('value'), { maxLength: 4 }),
    tie('object'),
  ),
  object: fc.dictionary(anyName, tie('value'), { maxKeys: 5 }),
}))

/** The text of a value as JSON; an endless number as devices write it. */
export const jsonOf = (value: unknown): string => {
  const text = JSON.stringify(value, (_key, part) =>
    part === Number.POSITIVE_INFINITY ? '∞+' : part === Number.NEGATIVE_INFINITY ? '∞-' : part,
  )
  return text.replaceAll('"∞+"', '1e999').replaceAll('"∞-"', '-1e999')
}

/** A value as it is after it was sent. */
export const asSent = (value: unknown): unknown => JSON.parse(jsonOf(value))

/** Names of fields, without those of envelopes. */
export const legalName = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  .filter(
    (name) => isFieldName(name) && !isReserved(name) && !/^(data|measurements|values|batch)$/.test(name),
  )
