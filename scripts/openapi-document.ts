/** The OpenAPI document, made from the routes of the functions. `npm run openapi [file]` writes it. */
import { writeFile } from 'node:fs/promises'
import { errorResponse } from '../lib/http/error-schema.ts'
import type { OpenApiDocument } from '../lib/http/openapi.ts'
import { telemetrySchemas } from '../lib/telemetry/payload/json-schema.ts'
import { version } from '../lib/version.ts'
import { describeFailure } from '../local/describe-failure.ts'
import { loadFunctions } from '../local/functions.ts'
import { asksForHelp, parseOptions, runCommand, UsageError } from './command.ts'
import { describeOperation } from './openapi/operation-object.ts'
import { type FunctionModules, loadOperations } from './openapi/operations.ts'
import { SchemaConverter } from './openapi/schemas.ts'
import { errorResponses, headerReferences, headers, securitySchemes, tags } from './openapi/vocabulary.ts'

const info = {
  title: 'IoTFlow',
  version,
  summary: 'Devices register, send telemetry and get their configuration; operators look after them.',
  description:
    'Times are ISO 8601 in UTC. Unknown fields of a request are ignored, and fields may be added to answers. Every error has one shape.',
  license: { name: 'MIT', identifier: 'MIT' },
}

/** The document without servers: the function that serves it adds the origin of the request. */
export async function openApiDocument(functions: FunctionModules): Promise<OpenApiDocument> {
  const converter = new SchemaConverter()
  const paths: Record<string, Record<string, ReturnType<typeof describeOperation>>> = {}
  for (const operation of await loadOperations(functions)) {
    paths[operation.path] = {
      ...paths[operation.path],
      [operation.method.toLowerCase()]: describeOperation(converter, operation),
    }
  }
  const error = converter.convert(errorResponse, 'output')
  const responses = Object.fromEntries(
    Object.values(errorResponses).map(({ name, description, headers: own }) => [
      name,
      { description, headers: headerReferences(own), content: { 'application/json': { schema: error } } },
    ]),
  )
  const schemas = Object.entries({ ...converter.components, ...telemetrySchemas })
  const document = {
    openapi: '3.1.1',
    info,
    tags: Object.values(tags),
    paths,
    components: {
      securitySchemes,
      headers,
      responses,
      schemas: Object.fromEntries(schemas.sort(([a], [b]) => (a < b ? -1 : 1))),
    },
  } as const
  return document as unknown as OpenApiDocument
}

const help = `The OpenAPI document of the HTTP API, as JSON.

  npm run openapi              prints it
  npm run openapi -- <file>    writes it to a file
`

export const main = () =>
  runCommand(async () => {
    if (asksForHelp(process.argv.slice(2))) {
      process.stdout.write(help)
      return 0
    }
    const { positionals } = parseOptions({ options: {}, allowPositionals: true })
    if (positionals.length > 1) throw new UsageError('The document is written to one file.')
    const text = `${JSON.stringify(await openApiDocument(await loadFunctions()), null, 2)}\n`
    const [file] = positionals
    if (file === undefined) process.stdout.write(text)
    else await describeFailure(`${file} cannot be written`, () => writeFile(file, text))
    return 0
  })
