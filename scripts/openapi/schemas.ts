/** JSON Schema from zod schemas, with the named ones gathered as components of the OpenAPI document. */
import * as z from 'zod'
import type { JsonSchema } from '../../lib/http/route.ts'

const jsonValueName = 'JsonValue'

const componentName = (reference: string): string => {
  const name = reference.replace('#/$defs/', '')
  // zod numbers schemas that refer to themselves without a name. Any JSON value is the only one here.
  return name.startsWith('__') ? jsonValueName : name
}

const pointToComponents = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(pointToComponents)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) =>
      key === '$ref' && typeof part === 'string'
        ? [key, `#/components/schemas/${componentName(part)}`]
        : [key, pointToComponents(part)],
    ),
  )
}

export class SchemaConverter {
  readonly #components: Record<string, JsonSchema> = {
    [jsonValueName]: { description: 'Any value of JSON.' },
  }

  /** Schemas with a name that were met so far. */
  get components(): Readonly<Record<string, JsonSchema>> {
    return this.#components
  }

  /** @param io `input` for requests, `output` for responses. */
  convert(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
    // zod makes no definition of the outermost schema: inside an array a named schema becomes one.
    const { items, $defs = {} } = z.toJSONSchema(z.array(schema), {
      target: 'draft-2020-12',
      io,
      override: ({ jsonSchema }) => {
        // Responses may get new fields, and unknown fields of requests are ignored.
        if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties
        if (jsonSchema.propertyNames && JSON.stringify(jsonSchema.propertyNames) === '{"type":"string"}')
          delete jsonSchema.propertyNames
      },
    })
    for (const [name, part] of Object.entries($defs)) {
      if (!name.startsWith('__')) this.#components[name] = pointToComponents(part) as JsonSchema
    }
    return pointToComponents(items) as JsonSchema
  }
}
