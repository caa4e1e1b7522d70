/** One operation as the OpenAPI document describes it. */
import * as z from 'zod'
import type { JsonSchema, RequestBody, ResponseDocumentation } from '../../lib/http/route.ts'
import { errorsOf, type Operation } from './operations.ts'
import type { SchemaConverter } from './schemas.ts'
import { errorResponses, headerReferences, securityOf, tags } from './vocabulary.ts'

/** Joins what a schema and its operation say of one field. */
const joinSentences = (...sentences: unknown[]) => sentences.filter(Boolean).join(' ')

const optional = <T>(name: string, value: T | undefined) => (value === undefined ? {} : { [name]: value })

/** What stands before `{id}` in an address, where the id is no device's. */
const namedIds: Readonly<Record<string, string>> = {
  'alert-rules': 'alert rule',
  alerts: 'alert',
  'dead-letters': 'dead letter',
}

const idParameter = (path: string) => ({
  name: 'id',
  in: 'path',
  required: true,
  description: `The id of the ${namedIds[path.split('/{id}')[0]?.split('/').at(-1) ?? ''] ?? 'device'}.`,
  schema: { type: 'integer', minimum: 1, maximum: 999_999_999_999_999, examples: [1] },
})

const pathParameters = ({ path, pathParameters: named = {} }: Operation) => [
  ...(path.includes('{id}') ? [idParameter(path)] : []),
  ...Object.entries(named).map(([name, { description, schema, example }]) => ({
    name,
    in: 'path',
    required: true,
    description,
    schema: { ...schema, examples: [example] },
  })),
]

const queryParameters = (
  converter: SchemaConverter,
  { query, body, exampleQuery = {}, fieldDescriptions = {} }: Operation,
) =>
  Object.entries(query?.shape ?? {}).map(([name, field]) => {
    const { description, ...schema } = converter.convert(field as z.ZodType, 'input')
    return {
      name,
      in: 'query',
      // Where there is a body, it may have the fields instead.
      ...(body !== undefined || field.safeParse(undefined).success ? {} : { required: true }),
      ...optional('description', joinSentences(fieldDescriptions[name], description) || undefined),
      ...(field.safeParse('').success ? { allowEmptyValue: true } : {}),
      ...optional('example', exampleQuery[name]),
      schema,
    }
  })

const otherParameters = ({ otherParameters: others = {}, exampleQuery = {} }: Operation) =>
  Object.entries(others).map(([name, { in: place, description, schema }]) => ({
    name,
    in: place,
    description,
    ...optional('example', exampleQuery[name]),
    schema,
  }))

const requestSchema = (converter: SchemaConverter, { schema }: RequestBody): JsonSchema =>
  schema instanceof z.ZodType ? converter.convert(schema, 'input') : schema

const describeFields = (properties: object, descriptions: Readonly<Record<string, string>>) =>
  Object.fromEntries(
    Object.entries(properties as Record<string, JsonSchema>).map(([name, property]) => [
      name,
      descriptions[name] === undefined
        ? property
        : { ...property, description: joinSentences(descriptions[name], property.description) },
    ]),
  )

const requestBody = (converter: SchemaConverter, { body, fieldDescriptions = {} }: Operation) => {
  if (body === undefined) return undefined
  if (body.contentTypes !== undefined) {
    const schema = requestSchema(converter, body)
    const contents = body.contentTypes.map((type) => [
      type,
      { schema, examples: { file: { value: body.examples[type] } } },
    ])
    return { required: body.required, content: Object.fromEntries(contents) as Record<string, object> }
  }
  const { properties, ...rest } = requestSchema(converter, body)
  const described =
    typeof properties === 'object' && properties !== null
      ? { properties: describeFields(properties, fieldDescriptions) }
      : {}
  const examples = Object.fromEntries(Object.entries(body.examples).map(([name, value]) => [name, { value }]))
  return {
    required: body.required,
    content: { 'application/json': { schema: { ...rest, ...described, ...body.rules }, examples } },
  }
}

const response = (converter: SchemaConverter, { description, content, headers }: ResponseDocumentation) => ({
  description,
  headers: headerReferences(headers),
  ...(content === undefined
    ? {}
    : {
        content: Object.fromEntries(
          Object.entries(content).map(([type, schema]) => [
            type,
            { schema: converter.convert(schema, 'output') },
          ]),
        ),
      }),
})

const tagOf = ({ functionName }: Operation) => tags[functionName.split('-')[0] as keyof typeof tags].name

/** The operation object of an operation. */
export function describeOperation(converter: SchemaConverter, operation: Operation) {
  const { id, summary, description, access, responses } = operation
  const parameters = [
    ...pathParameters(operation),
    ...queryParameters(converter, operation),
    ...otherParameters(operation),
  ]
  const errors = errorsOf(operation).map((status) => [
    status,
    { $ref: `#/components/responses/${errorResponses[status]?.name}` },
  ])
  const own = Object.entries(responses).map(([status, one]) => [status, response(converter, one)])
  return {
    operationId: id,
    tags: [tagOf(operation)],
    summary,
    ...optional('description', description),
    security: securityOf[access],
    ...(parameters.length > 0 ? { parameters } : {}),
    ...optional('requestBody', requestBody(converter, operation)),
    responses: Object.fromEntries([...errors, ...own]) as Record<string, object>,
  }
}
