/**
 * JSON Schema of the messages that devices send, as part of the OpenAPI document. It refuses only what has nothing to store:
 * whatever else a device sends is kept as far as it can be, so that the shapes stand here as descriptions and examples.
 */
import { maxNameLength } from './names.ts'
import { maxBatch } from './parse.ts'
import { maxFields, maxMessageIdLength, maxMetadata, maxStringBytes } from './values.ts'

type JsonSchema = Readonly<Record<string, unknown>>

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })

/** By the names of the components in the OpenAPI document. */
export const telemetrySchemas: Readonly<Record<string, JsonSchema>> = {
  TelemetryTime: {
    description:
      'When the reading was taken: ISO 8601 (local time of the device where it names no offset), or an epoch in s, ms or µs by its magnitude, also as digits in a string, there in ns too. Left out: when it arrives. Also named `ts`, `time` or `tst`. A clock that cannot be right (before 2000, ahead of the server, older than the retention) is not believed: the time of arrival is stored, and the device’s as metadata `device_time`.',
    examples: ['2026-01-31T12:00:00Z', 1769860800],
  },
  TelemetryValues: {
    description: `Values by their names, at most ${maxFields} of one reading: finite numbers (every one is a float), booleans, strings of at most ${maxStringBytes} bytes. Objects and arrays become names with dots, {"a": {"b": [1]}} the field a.b.0; null is skipped. Names have 1 to ${maxNameLength} letters, marks and digits of any script, blanks inside, and _ . - : / % ° # @ & + ( ) $; another character becomes _. What cannot be kept is left out, and named in a warning.`,
    type: 'object',
    examples: [{ temperature: 21.5, humidity: 60, door: { open: true } }],
  },
  TelemetryMetadata: {
    description: `About the reading: at most ${maxMetadata} numbers, booleans and strings, read back as strings.`,
    examples: [{ sensor_status: 'active' }],
  },
  TelemetryReading: {
    description:
      'One reading. Its values stand in `data`, in `measurements`, in `values`, or flat. Beside `data` numbers, booleans, objects and arrays are values too, and strings are metadata.',
    type: 'object',
    minProperties: 1,
    properties: {
      data: { anyOf: [ref('TelemetryValues'), { description: 'A value like any other.' }] },
      metadata: ref('TelemetryMetadata'),
      timestamp: ref('TelemetryTime'),
      age_ms: { description: 'Milliseconds since it was taken, for devices without a clock.' },
      message_id: {
        description: `By which the device itself knows the reading: a string of 1 to ${maxMessageIdLength} characters, or a whole number. The same within 24 h is the same reading.`,
      },
    },
    examples: [{ data: { temperature: 21.5 }, timestamp: '2026-01-31T12:00:00Z' }],
  },
  TelemetryMessage: {
    description: `One reading, a batch of at most ${maxBatch} as a list or in \`batch\`, or a pack of SenML (RFC 8428). The good readings of a batch are kept; it is refused when none is good.`,
    anyOf: [
      ref('TelemetryReading'),
      { title: 'Batch', type: 'array', minItems: 1, maxItems: maxBatch, items: {} },
    ],
  },
}
