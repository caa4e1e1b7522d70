/** `npm run openapi`: the OpenAPI document, made of the table in `api.ts`, into `lib/openapi.json`. */
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import * as z from 'zod'
import { version } from '../lib/version.ts'
import {
  type Answer,
  errorAnswer,
  errorsOf,
  headers,
  type JsonSchema,
  type Operation,
  operations,
  telemetrySchemas,
  type Who,
} from './api.ts'

/** Where the document is kept. */
export const documentFile = fileURLToPath(new URL('../lib/openapi.json', import.meta.url))

type Mutable = Record<string, unknown>

const isZod = (schema: z.ZodType | JsonSchema): schema is z.ZodType => schema instanceof z.ZodType

const jsonValueId = 'JsonValue'

/** Turns schemas of zod into JSON Schema, and gathers those that have a name. */
const createConverter = () => {
  const named: Record<string, JsonSchema> = {}

  const moveReferences = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(moveReferences)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, part]) =>
        key === '$ref' && typeof part === 'string'
          ? // Nothing but a value of JSON is without a name and refers to itself.
            [key, `#/components/schemas/${part.replace('#/$defs/', '').replace(/^__.*/, jsonValueId)}`]
          : [key, moveReferences(part)],
      ),
    )
  }

  /** @param io `input` for what is sent to the layer, `output` for what it answers. */
  const convert = (schema: z.ZodType, io: 'input' | 'output'): JsonSchema => {
    // In a list also the outermost schema is taken for one that may have a name.
    const { items, $defs = {} } = z.toJSONSchema(z.array(schema), {
      target: 'draft-2020-12',
      io,
      override: ({ jsonSchema }) => {
        // Fields may be added to answers, and unknown ones of requests are ignored.
        if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties
        if (jsonSchema.propertyNames && JSON.stringify(jsonSchema.propertyNames) === '{"type":"string"}')
          delete jsonSchema.propertyNames
      },
    })
    for (const [name, part] of Object.entries($defs)) {
      if (!name.startsWith('__')) named[name] = moveReferences(part) as JsonSchema
    }
    return moveReferences(items) as JsonSchema
  }
  return { convert, named }
}

const securityOf: Record<Who, readonly Mutable[]> = {
  none: [],
  device: [{ DeviceKey: [] }],
  admin: [{ AdminToken: [] }],
  // Without any: where the settings open it.
  read: [{ DeviceKey: [] }, { AdminToken: [] }, {}],
  enrol: [{ EnrollmentKey: [] }, {}],
}

const errors: Readonly<Record<number, { name: string; description: string; headers?: readonly string[] }>> = {
  400: { name: 'BadRequest', description: 'The request, or the JSON of its body, is broken.' },
  401: {
    name: 'Unauthorized',
    description: 'The credential is missing, unknown, expired or revoked.',
    headers: ['WWW-Authenticate'],
  },
  403: { name: 'Forbidden', description: 'The device is inactive.' },
  404: { name: 'NotFound', description: 'There is no such thing, or none that the caller may see.' },
  405: { name: 'MethodNotAllowed', description: 'The address takes other methods.', headers: ['Allow'] },
  409: { name: 'Conflict', description: 'The name is taken.' },
  412: { name: 'PreconditionFailed', description: 'The version in `If-Match` is not the current one.' },
  413: { name: 'PayloadTooLarge', description: 'The body is larger than 1 MiB.' },
  415: { name: 'UnsupportedMediaType', description: 'The body is not sent as JSON.' },
  422: { name: 'Unprocessable', description: 'What was sent is refused; each field is named.' },
  429: { name: 'TooManyRequests', description: 'Too many requests.', headers: ['Retry-After'] },
  500: { name: 'Internal', description: 'Something went wrong in the layer.' },
  503: {
    name: 'Unavailable',
    description: 'Not now, or not configured: the sentence says which.',
    headers: ['Retry-After'],
  },
}

const always = ['X-Request-Id', 'RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset']

const headersOf = (own: readonly string[] = []) =>
  Object.fromEntries([...always, ...own].map((name) => [name, { $ref: `#/components/headers/${name}` }]))

const areas: Readonly<Record<string, { name: string; description: string }>> = {
  devices: { name: 'Devices', description: 'What a device does and asks for itself.' },
  telemetry: { name: 'Telemetry', description: 'Readings: sent, read, aggregated, deleted.' },
  admin: { name: 'Administration', description: 'What operators do with devices.' },
  mqtt: { name: 'MQTT', description: 'The broker.' },
  system: { name: 'System', description: 'The layer itself.' },
}

const areaOf = ({ functionName }: Operation) => areas[functionName.split('-')[0] ?? '']?.name ?? ''

/** The document without its servers: those are where it is asked for. */
export function openApiDocument(): JsonSchema {
  const { convert, named } = createConverter()

  const answer = ({ description, content, headers: own }: Answer) => ({
    description,
    headers: headersOf(own),
    ...(content === undefined
      ? {}
      : {
          content: Object.fromEntries(
            Object.entries(content).map(([type, schema]) => [type, { schema: convert(schema, 'output') }]),
          ),
        }),
  })

  const parametersOf = ({ path, parameters, unchecked = {}, example = {}, about = {} }: Operation) => {
    const inPath = path.includes('{id}')
      ? [
          {
            name: 'id',
            in: 'path',
            required: true,
            description: 'The id of the device.',
            schema: { type: 'integer', minimum: 1, maximum: 999_999_999_999_999, examples: [1] },
          },
        ]
      : []
    const inQuery = Object.entries(parameters?.shape ?? {}).map(([name, schema]) => {
      const { description, ...rest } = convert(schema as z.ZodType, 'input')
      const sentences = [about[name], description].filter((sentence) => sentence !== undefined)
      return {
        name,
        in: 'query',
        ...(sentences.length > 0 ? { description: sentences.join(' ') } : {}),
        ...(schema.safeParse('').success ? { allowEmptyValue: true } : {}),
        ...(example[name] === undefined ? {} : { example: example[name] }),
        schema: rest,
      }
    })
    const more = Object.entries(unchecked).map(([name, { in: place, schema }]) => ({
      name,
      in: place,
      description: about[name],
      ...(example[name] === undefined ? {} : { example: example[name] }),
      schema,
    }))
    return [...inPath, ...inQuery, ...more]
  }

  const bodyOf = ({ body, about = {} }: Operation) => {
    if (body === undefined) return undefined
    const schema: Mutable = isZod(body.schema) ? { ...convert(body.schema, 'input') } : { ...body.schema }
    if (typeof schema.properties === 'object' && schema.properties !== null) {
      schema.properties = Object.fromEntries(
        Object.entries(schema.properties).map(([name, part]) => [
          name,
          about[name] === undefined
            ? part
            : {
                ...(part as JsonSchema),
                description: [about[name], (part as Mutable).description].filter(Boolean).join(' '),
              },
        ]),
      )
    }
    const examples = Object.fromEntries(
      Object.entries(body.examples).map(([name, value]) => [name, { value }]),
    )
    return {
      required: body.required,
      content: { 'application/json': { schema: { ...schema, ...body.rules }, examples } },
    }
  }

  const paths: Record<string, Mutable> = {}
  for (const operation of operations) {
    const { method, path, functionName, id = functionName, summary, description, who, answers } = operation
    const parameters = parametersOf(operation)
    const requestBody = bodyOf(operation)
    const refused = errorsOf(operation).map((status) => [
      status,
      { $ref: `#/components/responses/${errors[status]?.name}` },
    ])
    const answered = Object.entries(answers).map(([status, given]) => [status, answer(given)])
    paths[path] ??= {}
    paths[path][method.toLowerCase()] = {
      operationId: id,
      tags: [areaOf(operation)],
      summary,
      ...(description === undefined ? {} : { description }),
      security: securityOf[who],
      ...(parameters.length > 0 ? { parameters } : {}),
      ...(requestBody === undefined ? {} : { requestBody }),
      responses: Object.fromEntries([...refused, ...answered]),
    }
  }

  const error = convert(errorAnswer, 'output')
  const responses = Object.fromEntries(
    Object.values(errors).map(({ name, description, headers: own }) => [
      name,
      { description, headers: headersOf(own), content: { 'application/json': { schema: error } } },
    ]),
  )
  const schemas = {
    ...named,
    ...telemetrySchemas,
    [jsonValueId]: { description: 'Any value of JSON.' },
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'IoTFlow',
      version,
      summary: 'Devices register, send telemetry and get their configuration; operators look after them.',
      description:
        'Times are ISO 8601 in UTC. Unknown fields of a request are ignored, and fields may be added to answers. Every error has one shape.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    tags: Object.values(areas),
    paths,
    components: {
      securitySchemes: {
        DeviceKey: {
          type: 'apiKey',
          in: 'header',
          name: 'X-API-Key',
          description: 'The API key of a device.',
        },
        AdminToken: {
          type: 'http',
          scheme: 'bearer',
          description: 'The token of the operators; `Authorization: admin <token>` is taken too.',
        },
        EnrollmentKey: {
          type: 'apiKey',
          in: 'header',
          name: 'X-Enrollment-Key',
          description: 'What devices show to register.',
        },
      },
      headers,
      responses,
      schemas: Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1))),
    },
  }
}

/** The document as the file has it. */
export const documentText = (): string => `${JSON.stringify(openApiDocument(), null, 2)}\n`

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await writeFile(documentFile, documentText())
  process.stdout.write(`${documentFile} describes ${operations.length} routes.\n`)
}
