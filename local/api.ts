/**
 * Every route with what it takes and what it answers. Requests are described by the schemas that check them, answers by
 * schemas that the tests hold the running layer to; `local/openapi.ts` makes the OpenAPI document of both.
 */
import * as z from 'zod'
import * as adminConfigure from '../functions/admin/configure.ts'
import * as adminDeadLetters from '../functions/admin/dead-letters.ts'
import * as adminDelete from '../functions/admin/delete.ts'
import * as adminEvents from '../functions/admin/events.ts'
import * as adminList from '../functions/admin/list.ts'
import * as adminRevokeKey from '../functions/admin/revoke-key.ts'
import * as adminRotateKey from '../functions/admin/rotate-key.ts'
import * as adminSetStatus from '../functions/admin/set-status.ts'
import * as adminUpdate from '../functions/admin/update.ts'
import * as devicesConfigure from '../functions/devices/configure.ts'
import * as devicesHistory from '../functions/devices/history.ts'
import * as devicesRegister from '../functions/devices/register.ts'
import * as devicesRotateKey from '../functions/devices/rotate-key.ts'
import * as devicesUpdate from '../functions/devices/update.ts'
import { dataTypes } from '../lib/commands/configuration.ts'
import { jsonValue } from '../lib/commands/fields.ts'
import { prefixLength } from '../lib/devices/credentials.ts'
import { deviceStatus } from '../lib/devices/fields.ts'
import { errorCodes } from '../lib/errors.ts'
import { timePattern } from '../lib/telemetry/patterns.ts'
import {
  maxBatch,
  maxDepth,
  maxFields,
  maxMessageIdLength,
  maxMetadata,
  maxNameLength,
  maxStringBytes,
  reserved,
  timeKeys,
  validName,
} from '../lib/telemetry/payload.ts'
import { AggregateParameters, HistoryParameters, RemovalRange } from '../lib/telemetry/query.ts'
import { aggregations } from '../lib/telemetry/store.ts'

export type JsonSchema = Readonly<Record<string, unknown>>

/** Who may call; `read` and `enrol` need no credential where the settings open them. */
export type Who = 'none' | 'device' | 'admin' | 'read' | 'enrol'

export interface Answer {
  readonly description: string
  /** By content type; none for an answer without a body. */
  readonly content?: Readonly<Record<string, z.ZodType>>
  /** Beside those that every answer has; names of {@link headers}. */
  readonly headers?: readonly string[]
}

export interface RequestBody {
  /** What checks it, or a description by hand where it is checked without zod. */
  readonly schema: z.ZodType | JsonSchema
  readonly required: boolean
  /** What the schema cannot say. */
  readonly rules?: JsonSchema
  /** By a word that names it; the first one stands in the examples of `/docs`. */
  readonly examples: Readonly<Record<string, unknown>>
}

export interface Operation {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** With parameters in braces, as serverless.yml writes it. */
  readonly path: string
  /** As serverless.yml names it. */
  readonly functionName: string
  /** Of the operation, where the function has more than one. */
  readonly id?: string
  readonly summary: string
  readonly description?: string
  readonly who: Who
  readonly parameters?: z.ZodObject
  /** Parameters that no schema checks, by name. */
  readonly unchecked?: Readonly<
    Record<string, { readonly in: 'header' | 'query'; readonly schema: JsonSchema }>
  >
  readonly body?: RequestBody
  /** Parameters of a request that shows what it is for. */
  readonly example?: Readonly<Record<string, string | number | boolean>>
  /** A sentence for parameters and fields of the body, by name. */
  readonly about?: Readonly<Record<string, string>>
  readonly answers: Readonly<Record<number, Answer>>
  /** Errors beside those that follow from the rest. */
  readonly errors?: readonly number[]
}

// ---- Parts of answers

const time = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(?!000)\d{3}|\.\d{3}(?!000)\d{3}|\.\d{6}(?!000)\d{3})?Z$/)
  .meta({
    id: 'Time',
    format: 'date-time',
    description: 'ISO 8601 in UTC with 0, 3, 6 or 9 fraction digits, the fewest that are exact.',
    examples: ['2026-01-31T12:00:00Z'],
  })

const apiKey = z
  .string()
  .regex(/^[A-Za-z0-9]{24,64}$/)
  .meta({ id: 'ApiKey', description: 'Shown here only: the layer keeps nothing but its digest.' })

const deviceId = z
  .int()
  .min(1)
  .max(999_999_999_999_999)
  .meta({ id: 'DeviceId', description: 'Never used twice.', examples: [1] })

const status = deviceStatus.meta({
  id: 'DeviceStatus',
  description:
    'A device in maintenance may still send and read; nothing is alerted for it. An inactive one is refused.',
})

/** Also what a client that follows the pages sends back. */
const nextCursor = z.string().optional().describe('The `cursor` of the next page; left out on the last one.')

const description = {
  description: z.string().nullable(),
  device_type: z.string(),
  status,
  location: z.string().nullable(),
  firmware_version: z.string().nullable(),
  hardware_version: z.string().nullable(),
  created_at: time,
  updated_at: time,
  last_seen: time.nullable(),
}

const device = z.strictObject({ id: deviceId, name: z.string(), ...description }).meta({ id: 'Device' })

const newDevice = z
  .strictObject({ id: deviceId, name: z.string(), api_key: apiKey, ...description })
  .meta({ id: 'NewDevice' })

const isOnline = z.boolean()
const listedDevice = z.strictObject({ ...device.shape, is_online: isOnline }).meta({ id: 'ListedDevice' })

const detailed = {
  ...listedDevice.shape,
  offline_after_s: z.int().min(1).describe('Seconds of silence after which it counts as offline.'),
}
const deviceDetails = z.strictObject(detailed).meta({ id: 'DeviceDetails' })
const countedDevice = z
  .strictObject({ ...detailed, telemetry_count: z.int().min(0).describe('Readings that are kept of it.') })
  .meta({ id: 'CountedDevice' })

const authRecord = z
  .strictObject({
    key_prefix: z.string().length(prefixLength),
    is_active: z.boolean(),
    created_at: time,
    expires_at: time.nullable(),
    last_used: time.nullable(),
    revoked_at: time.nullable(),
  })
  .meta({ id: 'AuthRecord', description: 'An API key as operators see it.' })

const dataType = z.enum(dataTypes)
const version = z.int().min(0).describe('Raised by each change; 0: there has never been one.')
const configurationEntries = z
  .record(z.string(), z.strictObject({ value: jsonValue, data_type: dataType, updated_at: time }))
  .meta({ id: 'ConfigurationEntries', description: 'By key.' })
const configuration = {
  version,
  reported_version: z.int().min(0).nullable().describe('What the device says it runs.'),
  reported_at: time.nullable(),
  configuration: configurationEntries,
}

const fieldValue = z.union([z.number(), z.string(), z.boolean()]).meta({ id: 'FieldValue' })
const reading = z
  .strictObject({ timestamp: time, metadata: z.record(z.string(), z.string()).optional() })
  .catchall(fieldValue)
  .meta({ id: 'StoredReading', description: 'Beside its time every field under its own name.' })

const port = z.int().min(1).max(65_535).nullable()
const mqttTopics = z
  .strictObject({
    telemetry_publish: z.string(),
    status_publish: z.string(),
    status_online: z.string(),
    status_offline: z.string(),
    status_heartbeat: z.string(),
    commands_subscribe: z.string(),
    commands_response_publish: z.string(),
    config_subscribe: z.string(),
    config_reported_publish: z.string(),
    fleet_notices_subscribe: z.string(),
  })
  .meta({ id: 'MqttTopics' })
const mqttCredentials = z
  .strictObject({
    mqtt_host: z.string(),
    mqtt_port: port,
    mqtt_tls_port: port,
    alpn: z.string().nullable().describe('What a client must name in the TLS handshake.'),
    websocket_url: z.string().nullable(),
    client_id: z.string(),
    username: z.string(),
    topics: mqttTopics,
  })
  .meta({ id: 'MqttCredentials', description: 'A way that is not open is null.' })

const ofDevice = { device_id: deviceId, device_name: z.string(), device_type: z.string() }
const success = z.literal('success')
const sessionsEnded = z
  .int()
  .min(0)
  .nullable()
  .describe('MQTT connections and sessions; null when the broker could not be reached.')
const previousKeyEnds = time
  .nullable()
  .describe('Until when the key before is taken; null when there was none.')

/** The one shape of every error. */
export const errorAnswer = z
  .strictObject({
    error: z.strictObject({
      code: z.enum(errorCodes),
      message: z.string().min(1),
      request_id: z.string().regex(/^[0-9a-f]{24}$/),
      details: z
        .array(z.strictObject({ path: z.string(), message: z.string() }))
        .min(1)
        .optional()
        .describe('Every field that was refused.'),
    }),
  })
  .meta({ id: 'Error' })

const health = z
  .strictObject({
    status: z.enum(['healthy', 'degraded', 'unhealthy']),
    version: z.string(),
    timestamp: time,
    checks: z
      .record(
        z.string(),
        z.strictObject({ status: z.enum(['ok', 'failed', 'warning']), message: z.string().optional() }),
      )
      .optional(),
  })
  .meta({ id: 'Health' })

const json = (description: string, schema: z.ZodType, ...headers: string[]): Answer => ({
  description,
  content: { 'application/json': schema },
  headers,
})
const unchanged: Answer = { description: 'The caller has this version already.', headers: ['ETag'] }
const ifNoneMatch = {
  'If-None-Match': { in: 'header', schema: { type: 'string' } },
} as const
const aboutIfNoneMatch = { 'If-None-Match': 'The `ETag` of an answer before: 304 when it is still right.' }

/** Headers of answers, by name. */
export const headers = {
  'X-Request-Id': {
    description: 'Names this request in the log of the layer.',
    required: true,
    schema: { type: 'string', pattern: '^[0-9a-f]{24}$' },
  },
  'RateLimit-Limit': {
    description: 'Requests of a window. Left out where the limit is off.',
    schema: { type: 'integer', minimum: 1 },
  },
  'RateLimit-Remaining': {
    description: 'Requests that are left of them.',
    schema: { type: 'integer', minimum: 0 },
  },
  'RateLimit-Reset': {
    description: 'Seconds until the window ends.',
    schema: { type: 'integer', minimum: 0 },
  },
  'Retry-After': {
    description: 'Seconds after which to try again.',
    required: true,
    schema: { type: 'integer', minimum: 1 },
  },
  Allow: {
    description: 'The methods that the address takes.',
    required: true,
    schema: { type: 'string' },
  },
  'WWW-Authenticate': { required: true, schema: { type: 'string' } },
  ETag: { description: 'The version of the answer.', required: true, schema: { type: 'string' } },
  'X-Next-Cursor': {
    description: 'The `cursor` of the next page of CSV or NDJSON; left out on the last one.',
    schema: { type: 'string' },
  },
} as const satisfies Readonly<Record<string, JsonSchema>>

// ---- Telemetry: lib/telemetry/payload.ts checks it without zod

const word = 'A-Za-z0-9_.:-'
/** Names that a field may have, without those that are taken. */
const fieldNames = (taken: readonly string[]) =>
  `^(?!(?:${taken.join('|')})$|meta_)${validName.source.slice(1)}`
const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })
const each = (names: Iterable<string>, schema: unknown) =>
  Object.fromEntries([...names].map((name) => [name, schema]))
/** Two times at once are refused. */
const oneTime = {
  not: {
    anyOf: timeKeys.flatMap((a, i) => timeKeys.slice(i + 1).map((b) => ({ required: [a, b] }))),
  },
}
const aboutReading = {
  ...each(
    timeKeys.filter((key) => key !== 'age_ms'),
    ref('TelemetryTime'),
  ),
  age_ms: {
    type: ['number', 'null'],
    minimum: 0,
    description: 'Milliseconds since it was taken, for devices without a clock.',
  },
  message_id: {
    type: ['string', 'number', 'null'],
    minLength: 1,
    maxLength: maxMessageIdLength,
    description: 'By which the device itself knows the message.',
  },
}
const withMetadata = { ...aboutReading, metadata: ref('TelemetryMetadata') }

/** What devices send, as parts of the document by name. */
export const telemetrySchemas: Readonly<Record<string, JsonSchema>> = {
  TelemetryTime: {
    description:
      'When the reading was taken: ISO 8601 (UTC where it names no offset), an epoch in s, ms or µs by its magnitude, as a string in ns too. Left out: when it arrives. Not before 2000, not older than the retention, at most 24 h ahead. `ts` and `time` are other names of `timestamp`.',
    anyOf: [
      { type: 'string', pattern: `^(?:${timePattern})$` },
      { type: 'number', minimum: 946_684_800, exclusiveMaximum: 1e17 },
      { type: 'null' },
    ],
    examples: ['2026-01-31T12:00:00Z', 1769860800],
  },
  TelemetryValue: {
    description: `A finite number (every one is a float), a boolean, a string of at most ${maxStringBytes} bytes, or an object of them, at most ${maxDepth} deep, which becomes fields with dots: {"a": {"b": 1}} is the field a.b. Null is skipped.`,
    anyOf: [
      { type: ['number', 'boolean', 'null'] },
      { type: 'string', maxLength: maxStringBytes },
      {
        type: 'object',
        patternProperties: { [`^(?!api_key$)[${word}]{1,${maxNameLength - 2}}$`]: ref('TelemetryValue') },
        additionalProperties: false,
      },
    ],
  },
  TelemetryValues: {
    description: `At most ${maxFields} fields; names have 1 to ${maxNameLength} letters, digits, _ . - : and begin with no _. Reserved names and arrays are refused.`,
    type: 'object',
    patternProperties: { [fieldNames([...reserved])]: ref('TelemetryValue') },
    additionalProperties: false,
    maxProperties: maxFields,
    minProperties: 1,
    examples: [{ temperature: 21.5, humidity: 60 }],
  },
  TelemetryMetadata: {
    description: `About the reading: at most ${maxMetadata} numbers, booleans and strings, read back as strings.`,
    type: ['object', 'null'],
    patternProperties: {
      [validName.source]: { type: ['number', 'boolean', 'string', 'null'], maxLength: maxStringBytes },
    },
    additionalProperties: false,
    maxProperties: maxMetadata,
  },
  TelemetryReading: {
    description: 'One reading: its fields in `data`, in `measurements`, in `values`, or flat.',
    anyOf: [
      ...(['data', 'measurements'] as const).map((name, i, names) => ({
        title: `In ${name}`,
        type: 'object',
        required: [name],
        properties: {
          [name]: ref('TelemetryValues'),
          [names[1 - i] ?? '']: false,
          batch: { not: { type: 'array' } },
          ...withMetadata,
        },
        ...oneTime,
      })),
      {
        title: 'In values',
        type: 'object',
        required: ['values'],
        properties: { values: ref('TelemetryValues'), ...withMetadata },
        additionalProperties: false,
        ...oneTime,
      },
      {
        title: 'Flat',
        description: 'Reserved names beside the time are not stored.',
        type: 'object',
        properties: { ...each(reserved, {}), ...aboutReading },
        patternProperties: {
          [fieldNames([...reserved, 'message_id', 'data', 'measurements'])]: ref('TelemetryValue'),
          '^meta_': {},
        },
        additionalProperties: false,
        minProperties: 1,
        ...oneTime,
      },
    ],
  },
  TelemetryMessage: {
    description: `One reading, or a batch of at most ${maxBatch}. The good readings of a batch are kept; it is refused when none is good.`,
    anyOf: [
      ref('TelemetryReading'),
      { title: 'Batch', type: 'array', minItems: 1, maxItems: maxBatch, items: ref('TelemetryReading') },
      {
        title: 'Batch in an object',
        type: 'object',
        required: ['batch'],
        properties: {
          batch: { type: 'array', minItems: 1, maxItems: maxBatch, items: ref('TelemetryReading') },
          data: false,
          measurements: false,
        },
      },
    ],
  },
}

const telemetryBody: RequestBody = {
  schema: ref('TelemetryMessage'),
  required: true,
  examples: {
    data: { data: { temperature: 21.5, humidity: 60 }, metadata: { sensor_status: 'active' } },
    flat: { temperature: 21.5, soil: { moisture: 0.31 } },
    batch: [{ values: { temperature: 21.5 } }, { values: { temperature: 21.6 }, age_ms: 30_000 }],
  },
}

const rejections = z
  .array(
    z.strictObject({
      index: z.int().min(0),
      code: z.enum(['VALIDATION_FAILED', 'TOO_OLD']),
      message: z.string(),
    }),
  )
  .describe('Readings of the message that were refused, with their places in it.')

const submitted = z.strictObject({
  message: z.string(),
  device_id: deviceId,
  device_name: z.string(),
  timestamp: time.describe('Of the newest reading that was stored.'),
  accepted: z.int().min(1).describe('Readings that must not be sent again.'),
  duplicates: z.int().min(0).describe('Of these, recognised by their keys as sent before.'),
  rejected: rejections,
})

const submit = (path: string, id: string, description: string): Operation => ({
  method: 'POST',
  path,
  functionName: 'telemetry-submit',
  id,
  summary: 'Sends readings of the device itself',
  description,
  who: 'device',
  body: telemetryBody,
  unchecked: {
    'Idempotency-Key': { in: 'header', schema: { type: 'string' } },
  },
  about: {
    'Idempotency-Key':
      '1 to 255 visible ASCII characters. The same again within 24 h is the same message, and not stored twice.',
  },
  answers: {
    201: json('The readings are stored: they survive a power cut.', submitted),
    202: json(
      'The readings survive a power cut, and are stored as soon as the time-series database is back.',
      submitted.extend({ status: z.literal('queued') }),
    ),
  },
})

const account = z.strictObject({
  received: z.int().min(0).describe('stored + spooled + rejected + duplicates.'),
  stored: z.int().min(0),
  spooled: z.int().min(0).describe('Waiting for the time-series database now.'),
  rejected: z.int().min(0),
  duplicates: z.int().min(0).describe('Recognised by their keys.'),
  exact: z.boolean().describe('False where other machines count too.'),
})

const deadLetter = z.strictObject({
  id: z.int().min(1),
  device_id: deviceId.nullable(),
  topic: z.string(),
  reason: z.string(),
  received_at: time,
  rejected: z.int().min(1).describe('Readings that count as rejected because of it.'),
  size: z.int().min(0).describe('Bytes of the payload.'),
  payload: z.string().describe('As text, its first 500 bytes.'),
})

// ---- Rules of bodies that their schemas do not say

/** A rule for string holds where no type is named too. */
const ofType = (type: (typeof dataTypes)[number], value: unknown) => ({
  if: {
    properties: { data_type: { const: type } },
    ...(type === 'string' ? {} : { required: ['data_type'] }),
  },
  // biome-ignore lint/suspicious/noThenProperty: a word of JSON Schema.
  then: { properties: { config_value: value } },
})
const whole = '-?(?:0|[1-9][0-9]{0,14})'
const valueFitsType = {
  allOf: [
    ofType('string', { type: 'string' }),
    ofType('integer', {
      anyOf: [
        { type: 'integer', minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER },
        { type: 'string', pattern: `^${whole}$` },
      ],
    }),
    ofType('float', {
      anyOf: [{ type: 'number' }, { type: 'string', pattern: `^${whole}(?:\\.[0-9]{1,15})?$` }],
    }),
    ofType('boolean', { anyOf: [{ type: 'boolean' }, { enum: ['true', 'false'] }] }),
  ],
}

// ---- The table

/** In the order of serverless.yml. */
export const operations: readonly Operation[] = [
  {
    method: 'POST',
    path: '/api/v1/devices/register',
    functionName: 'devices-register',
    summary: 'Registers a device',
    description: 'Answers with the API key of the device: it is shown here and by a rotation only.',
    who: 'enrol',
    body: {
      schema: devicesRegister.Body,
      required: true,
      examples: {
        sensor: { name: 'greenhouse-1', device_type: 'temperature_sensor', location: 'Greenhouse' },
      },
    },
    about: { name: 'Taken names are refused.' },
    answers: {
      201: json('The device, with its key.', z.strictObject({ message: z.string(), device: newDevice })),
    },
    errors: [409],
  },
  {
    method: 'GET',
    path: '/api/v1/devices/status',
    functionName: 'devices-status',
    summary: 'Shows the device itself',
    who: 'device',
    answers: {
      200: json('What is known of it.', z.strictObject({ status: success, device: countedDevice })),
    },
  },
  {
    method: 'POST',
    path: '/api/v1/devices/heartbeat',
    functionName: 'devices-heartbeat',
    summary: 'Gives a sign of life',
    description: 'A body is not needed and not read.',
    who: 'device',
    answers: {
      200: json(
        'It was noted.',
        z.strictObject({
          message: z.string(),
          device_id: deviceId,
          timestamp: time,
          status: z.literal('online'),
        }),
      ),
    },
  },
  {
    method: 'PUT',
    path: '/api/v1/devices/config',
    functionName: 'devices-update',
    summary: 'Says what the device is',
    description: 'What is left out stays as it is.',
    who: 'device',
    body: {
      schema: devicesUpdate.Body,
      required: true,
      examples: { firmware: { firmware_version: '1.4.2', status: 'maintenance' } },
    },
    answers: { 200: json('The device as it is now.', z.strictObject({ message: z.string(), device })) },
  },
  {
    method: 'GET',
    path: '/api/v1/devices/config',
    functionName: 'devices-configuration',
    summary: 'Reads the configuration that is desired of the device',
    who: 'device',
    unchecked: ifNoneMatch,
    about: aboutIfNoneMatch,
    answers: {
      200: json(
        'The configuration.',
        z.strictObject({
          status: success,
          device_id: deviceId,
          version,
          configuration: configurationEntries,
        }),
        'ETag',
      ),
      304: unchanged,
    },
  },
  {
    method: 'POST',
    path: '/api/v1/devices/config',
    functionName: 'devices-configure',
    summary: 'Sets one key of the configuration that is desired of the device',
    description: 'A device has at most 128 keys.',
    who: 'device',
    body: {
      schema: devicesConfigure.Body,
      required: true,
      rules: valueFitsType,
      examples: { interval: { config_key: 'sampling_interval', config_value: 30, data_type: 'integer' } },
    },
    about: {
      config_value: 'Of the type that `data_type` names; text is taken for numbers, booleans and JSON.',
    },
    answers: {
      200: json(
        'The key as it is now.',
        z.strictObject({
          status: success,
          message: z.string(),
          config_key: z.string(),
          config_value: jsonValue,
          data_type: dataType,
          version,
        }),
      ),
    },
  },
  {
    method: 'GET',
    path: '/api/v1/devices/mqtt-credentials',
    functionName: 'devices-mqtt-credentials',
    summary: 'Tells how the device connects to the MQTT broker',
    description: 'The password is the API key of the device.',
    who: 'device',
    answers: {
      200: json(
        'Addresses, names and topics.',
        z.strictObject({
          status: success,
          credentials: mqttCredentials,
        }),
      ),
    },
  },
  {
    method: 'POST',
    path: '/api/v1/devices/rotate-key',
    functionName: 'devices-rotate-key',
    summary: 'Mints a new key for the device',
    description: 'The key that was used stays valid until the grace ends; any other ends at once.',
    who: 'device',
    body: { schema: devicesRotateKey.Body, required: false, examples: { 'an hour': { grace_s: 3600 } } },
    about: { grace_s: 'Seconds for which the key before is still taken.' },
    answers: {
      200: json(
        'The new key.',
        z.strictObject({
          message: z.string(),
          api_key: apiKey,
          previous_key_expires_at: previousKeyEnds,
        }),
      ),
    },
  },
  {
    method: 'GET',
    path: '/api/v1/devices/telemetry',
    functionName: 'devices-history',
    summary: 'Reads the readings of the device itself',
    who: 'device',
    parameters: devicesHistory.Parameters,
    example: { start_time: '-1h', limit: 100 },
    about: { start_time: 'Left out: an hour back.', end_time: 'Left out: all there is.' },
    answers: {
      200: json(
        'Readings, newest first unless asked otherwise.',
        z.strictObject({
          status: success,
          telemetry: z.array(reading),
          count: z.int().min(0),
          limit: z.int().min(1),
          start_time: time,
          next_cursor: nextCursor,
        }),
      ),
    },
  },
  submit(
    '/api/v1/devices/telemetry',
    'telemetry-submit',
    'One reading or a batch. 201 means that it is durable. A message that names its time may be sent again: one device, one time and one field are one value.',
  ),
  submit('/api/v1/telemetry', 'telemetry-submit-short', 'The same as `POST /api/v1/devices/telemetry`.'),
  submit(
    '/api/v1/mqtt/telemetry/{id}',
    'telemetry-submit-by-id',
    'The same as `POST /api/v1/devices/telemetry`, for the device itself: the id of another is not found.',
  ),
  {
    method: 'GET',
    path: '/api/v1/telemetry/status',
    functionName: 'telemetry-status',
    summary: 'Tells whether telemetry can be stored and read',
    who: 'none',
    answers: {
      200: json(
        'Asked of the store at most every 15 s.',
        z.strictObject({
          status: z.enum(['healthy', 'degraded', 'unavailable']),
          backend: z.enum(['embedded', 'influxdb']),
          influxdb_available: z.boolean(),
          bucket: z.string().optional(),
          organization: z.string().optional(),
          devices_with_telemetry: z.int().min(0).nullable().describe('Null while it is unavailable.'),
          accounting: account.optional().describe('Readings since the first start; for admins.'),
          spool: z
            .strictObject({ depth: z.int().min(0), oldest_age_s: z.int().min(0).nullable() })
            .optional()
            .describe('Readings that wait for the time-series database; for admins.'),
        }),
      ),
    },
  },
  {
    method: 'GET',
    path: '/api/v1/telemetry/{id}',
    functionName: 'telemetry-history',
    summary: 'Reads the readings of a device',
    description: 'An answer ends at 4 MB, with a cursor.',
    who: 'read',
    parameters: HistoryParameters,
    example: { start_time: '-1h', limit: 100 },
    about: { start_time: 'Left out: an hour back.', end_time: 'Left out: all there is.' },
    answers: {
      200: {
        description: 'Readings, newest first unless asked otherwise.',
        content: {
          'application/json': z.strictObject({
            ...ofDevice,
            start_time: time,
            data: z.array(reading),
            count: z.int().min(0),
            next_cursor: nextCursor,
          }),
          'text/csv': z
            .string()
            .describe(
              'A header line, then one line a reading, a column for every field that one of them has.',
            ),
          'application/x-ndjson': z.string().describe('One JSON object a line.'),
        },
        headers: ['X-Next-Cursor'],
      },
    },
  },
  {
    method: 'GET',
    path: '/api/v1/telemetry/{id}/latest',
    functionName: 'telemetry-latest',
    summary: 'Reads the newest value of every field of a device',
    who: 'read',
    answers: {
      200: json(
        'The values, 1,000 fields at most, with the time of the newest of them.',
        z.strictObject({
          ...ofDevice,
          latest_data: z.strictObject({ timestamp: time }).catchall(fieldValue),
        }),
      ),
    },
  },
  {
    method: 'GET',
    path: '/api/v1/telemetry/{id}/aggregated',
    functionName: 'telemetry-aggregated',
    summary: 'Reads one value per window of time',
    description: 'Newest window first, empty ones left out; a range of more than 10,000 windows is refused.',
    who: 'read',
    parameters: AggregateParameters,
    example: { field: 'temperature', aggregation: 'mean', window: '1h', start_time: '-24h' },
    about: {
      start_time: 'Left out: a day back.',
      end_time: 'Left out: now.',
      field: 'The name of a field, `temperature` if left out; `*` for every numeric one.',
      aggregation: '`mean` if left out.',
      window: '`1h` if left out.',
    },
    answers: {
      200: json(
        'The windows, each under the time it begins.',
        z.strictObject({
          ...ofDevice,
          field: z.string(),
          aggregation: z.enum(aggregations),
          window: z.string(),
          start_time: time,
          data: z.array(
            z
              .strictObject({ timestamp: time })
              .catchall(z.number())
              .describe('`value`, or with `field=*` every field under its own name.'),
          ),
          count: z.int().min(0),
        }),
      ),
    },
  },
  {
    method: 'DELETE',
    path: '/api/v1/telemetry/{id}',
    functionName: 'telemetry-remove',
    summary: 'Deletes the readings of a range',
    description:
      'Both ends have to be named, in the body or in the query; the body counts where there is one.',
    who: 'admin',
    parameters: RemovalRange,
    body: {
      schema: RemovalRange,
      required: false,
      examples: { 'a day': { start_time: '2026-01-30T00:00:00Z', stop_time: '2026-01-31T00:00:00Z' } },
    },
    about: { start_time: 'Belongs to the range.', stop_time: 'Does not belong to it.' },
    answers: {
      200: json(
        'They are deleted.',
        z.strictObject({ message: z.string(), device_id: deviceId, start_time: time, stop_time: time }),
      ),
    },
  },
  {
    method: 'GET',
    path: '/api/v1/admin/devices',
    functionName: 'admin-list',
    summary: 'Lists devices',
    who: 'admin',
    parameters: adminList.Parameters,
    example: { status: 'active', limit: 50 },
    about: {
      status: 'Only devices of this status.',
      device_type: 'Only devices of this type.',
      q: 'Part of the name, the location or the description; capitals do not matter.',
    },
    answers: {
      200: json(
        'In the order of their ids.',
        z.strictObject({
          status: success,
          total_devices: z.int().min(0).describe('Devices that fit, on all pages.'),
          devices: z.array(listedDevice),
          next_cursor: nextCursor,
        }),
      ),
    },
  },
  {
    method: 'GET',
    path: '/api/v1/admin/devices/{id}',
    functionName: 'admin-show',
    summary: 'Shows all that is known of a device',
    who: 'admin',
    answers: {
      200: json(
        'The device, its keys and its configuration.',
        z.strictObject({
          status: success,
          device: countedDevice,
          auth_records: z.array(authRecord).describe('Newest first.'),
          configurations: z.strictObject(configuration),
          accounting: account.describe('Readings of the device, since it was registered.'),
        }),
      ),
    },
  },
  {
    method: 'PUT',
    path: '/api/v1/admin/devices/{id}',
    functionName: 'admin-update',
    summary: 'Changes what is registered of a device',
    description: 'What is left out stays as it is. A device that becomes inactive is cut off.',
    who: 'admin',
    body: {
      schema: adminUpdate.Body,
      required: true,
      examples: { place: { location: 'Greenhouse, north', offline_after_s: 600 } },
    },
    about: { offline_after_s: 'Seconds; null takes the default of the settings.' },
    answers: {
      200: json(
        'The device as it is now.',
        z.strictObject({ status: success, message: z.string(), device: deviceDetails }),
      ),
    },
    errors: [409],
  },
  {
    method: 'DELETE',
    path: '/api/v1/admin/devices/{id}',
    functionName: 'admin-delete',
    summary: 'Deletes a device',
    description: 'Its keys, sessions and retained messages go with it, and if asked its telemetry.',
    who: 'admin',
    parameters: adminDelete.Parameters,
    example: { telemetry: 'true' },
    about: { telemetry: 'Whether its telemetry goes too.' },
    answers: {
      200: json(
        'It is deleted.',
        z.strictObject({
          status: success,
          message: z.string(),
          device_id: deviceId,
          device_name: z.string(),
          telemetry_deleted: z.boolean(),
          sessions_ended: sessionsEnded,
        }),
      ),
    },
  },
  {
    method: 'PUT',
    path: '/api/v1/admin/devices/{id}/status',
    functionName: 'admin-set-status',
    summary: 'Sets the status of a device',
    description: 'It takes effect on HTTP and MQTT; a device that becomes inactive is cut off.',
    who: 'admin',
    body: {
      schema: adminSetStatus.Body,
      required: true,
      examples: { maintenance: { status: 'maintenance' } },
    },
    answers: {
      200: json(
        'The status before and now.',
        z.strictObject({
          status: success,
          message: z.string(),
          device_id: deviceId,
          old_status: status,
          new_status: status,
          sessions_ended: sessionsEnded,
        }),
      ),
    },
  },
  {
    method: 'POST',
    path: '/api/v1/admin/devices/{id}/rotate-key',
    functionName: 'admin-rotate-key',
    summary: 'Mints a new key for a device',
    description: 'Its newest key stays valid until the grace ends; any other ends at once.',
    who: 'admin',
    body: { schema: adminRotateKey.Body, required: false, examples: { 'an hour': { grace_s: 3600 } } },
    about: { grace_s: 'Seconds for which the key before is still taken.' },
    answers: {
      200: json(
        'The new key.',
        z.strictObject({
          status: success,
          message: z.string(),
          device_id: deviceId,
          api_key: apiKey,
          previous_key_expires_at: previousKeyEnds,
        }),
      ),
    },
  },
  {
    method: 'POST',
    path: '/api/v1/admin/devices/{id}/revoke-key',
    functionName: 'admin-revoke-key',
    summary: 'Ends the keys of a device',
    description: 'All of them, or those with the prefix that is named; none with this prefix is not found.',
    who: 'admin',
    body: { schema: adminRevokeKey.Body, required: false, examples: { all: {} } },
    about: { key_prefix: 'The first characters of a key, as `auth_records` shows them.' },
    answers: {
      200: json(
        'They are ended.',
        z.strictObject({
          status: success,
          message: z.string(),
          device_id: deviceId,
          revoked_keys: z.int().min(0),
          sessions_ended: sessionsEnded,
        }),
      ),
    },
  },
  {
    method: 'GET',
    path: '/api/v1/admin/devices/{id}/config',
    functionName: 'admin-configuration',
    summary: 'Reads the desired configuration of a device, beside the version it reports',
    who: 'admin',
    unchecked: ifNoneMatch,
    about: aboutIfNoneMatch,
    answers: {
      200: json(
        'The configuration.',
        z.strictObject({ status: success, device_id: deviceId, ...configuration }),
        'ETag',
      ),
      304: unchanged,
    },
  },
  {
    method: 'PUT',
    path: '/api/v1/admin/devices/{id}/config',
    functionName: 'admin-configure',
    summary: 'Changes the desired configuration of a device',
    description: 'The keys that are named, as one; null deletes a key. A device has at most 128 keys.',
    who: 'admin',
    unchecked: {
      'If-Match': { in: 'header', schema: { type: 'string', pattern: '^(?:\\*|"?[0-9]{1,15}"?)$' } },
    },
    about: {
      'If-Match': 'The `ETag` the change was made from: 412 when the configuration has changed since.',
    },
    body: {
      schema: adminConfigure.Body,
      required: true,
      examples: { interval: { configuration: { sampling_interval: 30, led: 'off', threshold: null } } },
    },
    answers: {
      200: json(
        'The configuration as it is now.',
        z.strictObject({
          status: success,
          message: z.string(),
          device_id: deviceId,
          ...configuration,
          published: z.boolean().describe('False when the broker has not taken it.'),
        }),
        'ETag',
      ),
    },
    errors: [412],
  },
  {
    method: 'GET',
    path: '/api/v1/admin/devices/{id}/events',
    functionName: 'admin-events',
    summary: 'Lists what happened to a device',
    who: 'admin',
    parameters: adminEvents.Parameters,
    example: { limit: 20 },
    answers: {
      200: json(
        'Newest first.',
        z.strictObject({
          status: success,
          device_id: deviceId,
          events: z.array(
            z.strictObject({
              event: z.enum([
                'registered',
                'updated',
                'status',
                'key_rotated',
                'key_revoked',
                'configuration',
                'configuration_reported',
                'online',
                'offline',
              ]),
              timestamp: time,
              detail: z.record(z.string(), jsonValue).nullable(),
            }),
          ),
          next_cursor: nextCursor,
        }),
      ),
    },
  },
  ...(['dashboard', 'stats'] as const).map(
    (name): Operation => ({
      method: 'GET',
      path: `/api/v1/admin/${name}`,
      functionName: 'admin-dashboard',
      id: `admin-${name}`,
      summary: 'Shows the fleet in numbers',
      description:
        name === 'stats' ? 'The same as `GET /api/v1/admin/dashboard`.' : 'Counted at most every 15 s.',
      who: 'admin',
      answers: {
        200: json(
          'Counts of devices and messages.',
          z.strictObject({
            status: success,
            timestamp: time.describe('When it was counted.'),
            devices: z.strictObject({
              total: z.int().min(0),
              online: z.int().min(0),
              offline: z.int().min(0),
              by_status: z.strictObject({
                active: z.int().min(0),
                inactive: z.int().min(0),
                maintenance: z.int().min(0),
              }),
              by_type: z.record(z.string(), z.int().min(1)),
            }),
            messages: z
              .strictObject({
                last_minute: z.int().min(0),
                last_hour: z.int().min(0),
                last_day: z.int().min(0),
              })
              .nullable()
              .describe('Readings by their time; null while the store is unavailable.'),
            storage: z.strictObject({
              backend: z.enum(['embedded', 'influxdb']),
              status: z.enum(['healthy', 'unavailable']),
            }),
            last_seen: z.array(device).describe('The ten devices that were seen last.'),
          }),
        ),
      },
    }),
  ),
  {
    method: 'GET',
    path: '/api/v1/admin/dead-letters',
    functionName: 'admin-dead-letters',
    summary: 'Lists messages that could not be stored',
    description: 'Of each device the newest 1000 are kept, at most 1 MB of them.',
    who: 'admin',
    parameters: adminDeadLetters.Parameters,
    example: { limit: 20 },
    answers: {
      200: json(
        'Newest first.',
        z.strictObject({
          status: success,
          total: z.int().min(0),
          dead_letters: z.array(deadLetter),
          next_cursor: nextCursor,
        }),
      ),
    },
  },
  {
    method: 'GET',
    path: '/api/v1/admin/dead-letters/{id}',
    functionName: 'admin-show-dead-letter',
    summary: 'Shows a message that could not be stored',
    who: 'admin',
    answers: {
      200: json(
        'With its whole payload.',
        z.strictObject({
          status: success,
          dead_letter: deadLetter.extend({ payload_base64: z.string() }),
        }),
      ),
    },
  },
  {
    method: 'DELETE',
    path: '/api/v1/admin/dead-letters/{id}',
    functionName: 'admin-discard-dead-letter',
    summary: 'Gives up a message that could not be stored',
    who: 'admin',
    answers: {
      200: json(
        'It stays counted as rejected.',
        z.strictObject({ status: success, message: z.string(), id: z.int().min(1) }),
      ),
    },
  },
  {
    method: 'POST',
    path: '/api/v1/admin/dead-letters/{id}/replay',
    functionName: 'admin-replay-dead-letter',
    summary: 'Tries a message again that could not be stored',
    description:
      'Device and arrival are those of the record, never of the payload. Readings that are refused again stay in it.',
    who: 'admin',
    answers: {
      200: json(
        'At least one reading was taken.',
        z.strictObject({
          status: success,
          message: z.string(),
          id: z.int().min(1),
          accepted: z.int().min(1),
          queued: z.int().min(0),
          duplicates: z.int().min(0),
          rejected: rejections,
        }),
      ),
    },
    errors: [400, 409, 422],
  },
  {
    method: 'GET',
    path: '/api/v1/mqtt/status',
    functionName: 'mqtt-status',
    summary: 'Tells whether there is an MQTT broker and it answers',
    who: 'none',
    answers: {
      200: json(
        'Asked of the broker at most every 15 s.',
        z.strictObject({
          status: z.enum(['healthy', 'unavailable', 'disabled']),
          broker_info: z.strictObject({
            connected: z.boolean(),
            kind: z.enum(['embedded', 'mosquitto', 'aws-iot', 'none']),
          }),
        }),
      ),
    },
  },
  {
    method: 'GET',
    path: '/health',
    functionName: 'system-health',
    summary: 'Tells whether telemetry can be taken',
    who: 'none',
    unchecked: { detailed: { in: 'query', schema: { type: 'string' } } },
    example: { detailed: 'true' },
    about: { detailed: '`true` shows each check, to operators and on loopback.' },
    answers: {
      200: json('It can be taken.', health),
      503: json(
        'It cannot be taken, or the admin token that was sent cannot be checked.',
        z.union([health, errorAnswer]),
        'Retry-After',
      ),
    },
    errors: [401],
  },
  {
    method: 'GET',
    path: '/openapi.json',
    functionName: 'system-openapi',
    summary: 'Describes this API',
    who: 'none',
    unchecked: ifNoneMatch,
    about: aboutIfNoneMatch,
    answers: {
      200: json(
        'OpenAPI 3.1.',
        z.looseObject({
          openapi: z.literal('3.1.1'),
          info: z.looseObject({ title: z.string(), version: z.string() }),
          servers: z.array(z.strictObject({ url: z.url() })).length(1),
          paths: z.record(z.string(), z.looseObject({})),
          components: z.looseObject({}),
        }),
        'ETag',
      ),
      304: unchanged,
    },
  },
  {
    method: 'GET',
    path: '/docs',
    functionName: 'system-docs',
    summary: 'Describes this API for people',
    who: 'none',
    unchecked: ifNoneMatch,
    about: aboutIfNoneMatch,
    answers: {
      200: { description: 'A page.', content: { 'text/html': z.string() }, headers: ['ETag'] },
      304: unchanged,
    },
  },
]

/** Statuses of errors that an operation can answer with, in order. */
export function errorsOf({ who, path, parameters, body, errors: own = [] }: Operation): number[] {
  const found = new Set([400, 405, 429, 500, 503, ...own])
  if (who !== 'none') found.add(401)
  if (who === 'device' || who === 'read') found.add(403)
  if (path.includes('{id}')) found.add(404)
  if (parameters !== undefined || body !== undefined) found.add(422)
  if (body !== undefined) {
    found.add(413)
    found.add(415)
  }
  return [...found].sort((a, b) => a - b)
}
