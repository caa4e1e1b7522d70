/** Fixed parts of the OpenAPI document: headers, errors, security schemes and tags. */
import type { Access, JsonSchema } from '../../lib/http/route.ts'

/** Headers of responses, by name. */
export const headers = {
  'X-Request-Id': {
    description: 'Names this request in the log of the server.',
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
  'Accept-Encoding': {
    description: 'The encodings of bodies that are taken, where the body had another one.',
    schema: { type: 'string' },
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

const headersOfEveryResponse = ['X-Request-Id', 'RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset']

/** References to the headers of a response. @param own names beside those that every response has. */
export const headerReferences = (own: readonly string[] = []) =>
  Object.fromEntries(
    [...headersOfEveryResponse, ...own].map((name) => [name, { $ref: `#/components/headers/${name}` }]),
  )

interface ErrorResponse {
  /** Of the component. */
  readonly name: string
  readonly description: string
  readonly headers?: readonly string[]
}

/** Error responses by status. */
export const errorResponses: Readonly<Record<number, ErrorResponse>> = {
  400: { name: 'BadRequest', description: 'The request, or the JSON of its body, is broken.' },
  401: {
    name: 'Unauthorized',
    description: 'The credential is missing, unknown, expired or revoked.',
    headers: ['WWW-Authenticate'],
  },
  403: { name: 'Forbidden', description: 'The device is inactive.' },
  404: { name: 'NotFound', description: 'There is no such thing, or none that the caller may see.' },
  405: { name: 'MethodNotAllowed', description: 'The address takes other methods.', headers: ['Allow'] },
  409: {
    name: 'Conflict',
    description:
      'The name is taken, the command has ended or the device has too many, or the device of a dead letter is inactive or does not exist.',
  },
  412: { name: 'PreconditionFailed', description: 'The version in `If-Match` is not the current one.' },
  413: { name: 'PayloadTooLarge', description: 'The body is larger than 1 MiB, as sent or decompressed.' },
  415: {
    name: 'UnsupportedMediaType',
    description: 'The body is not sent as JSON, or compressed in another way than gzip and deflate.',
    headers: ['Accept-Encoding'],
  },
  422: { name: 'Unprocessable', description: 'What was sent is refused; each field is named.' },
  429: { name: 'TooManyRequests', description: 'Too many requests.', headers: ['Retry-After'] },
  500: { name: 'Internal', description: 'Something went wrong in the server.' },
  501: { name: 'NotImplemented', description: 'Only a server on one machine, `npm start`, has this.' },
  503: {
    name: 'Unavailable',
    description: 'Not now, or not configured: the sentence says which.',
    headers: ['Retry-After'],
  },
}

export const securitySchemes = {
  DeviceKey: {
    type: 'apiKey',
    in: 'header',
    name: 'X-API-Key',
    description: 'The API key of a device.',
  },
  AdminToken: {
    type: 'http',
    scheme: 'bearer',
    description:
      'The token of the operators; `Authorization: admin <token>` is taken too. `/metrics` takes `METRICS_TOKEN`, too.',
  },
  EnrollmentKey: {
    type: 'apiKey',
    in: 'header',
    name: 'X-Enrollment-Key',
    description: 'What devices show to register.',
  },
} as const

type Requirement = { readonly [Scheme in keyof typeof securitySchemes]?: readonly [] }

/** Alternatives; an empty one needs no credential, where the settings open the route. */
export const securityOf: Readonly<Record<Access, readonly Requirement[]>> = {
  none: [],
  device: [{ DeviceKey: [] }],
  admin: [{ AdminToken: [] }],
  read: [{ DeviceKey: [] }, { AdminToken: [] }, {}],
  enrol: [{ EnrollmentKey: [] }, {}],
  metrics: [{ AdminToken: [] }],
}

/** Tags by the folder of the function. */
export const tags = {
  devices: { name: 'Devices', description: 'What a device does and asks for itself.' },
  telemetry: { name: 'Telemetry', description: 'Readings: sent, read, aggregated, deleted.' },
  admin: { name: 'Administration', description: 'What operators do with devices.' },
  commands: { name: 'Commands', description: 'What devices are told to do, and what became of it.' },
  mqtt: { name: 'MQTT', description: 'The broker.' },
  system: { name: 'System', description: 'The server itself.' },
} as const
