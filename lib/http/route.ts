/**
 * Routes: what each function file exports of its endpoint. `route` says where it is and who may call it, `documentation`
 * describes requests and responses. The documentation types `reply` and makes the OpenAPI document; bundles leave it out.
 */
import type * as z from 'zod'
import type { RequestContext } from './context.ts'

export type JsonSchema = Readonly<Record<string, unknown>>

/** Who may call; `read` and `enrol` need no credential where the settings open them, and an admin may read `metrics`. */
export type Access = 'none' | 'device' | 'admin' | 'read' | 'enrol' | 'metrics'

/** `GET /api/v1/telemetry/:id`: method and path, in Hono's form. */
export type Address = `${'GET' | 'POST' | 'PUT' | 'DELETE' | 'ALL'} ${string}`

export interface Route<A extends Access = Access, D extends Documentation = Documentation> {
  /** The aliases stand behind the main address. */
  readonly addresses: readonly [Address, ...Address[]]
  readonly access: A
  /** The request limit that counts; by default the one that belongs to `access`. `uncounted`: no limit. */
  readonly limit?: 'telemetry' | 'uncounted'
  /** Its handler uses nothing of Hono beside {@link RequestContext}, and answers in JSON: doors may call it without Hono. */
  readonly direct?: true
  /** A credential that nobody needs and that shows more: the handler asks `access.isAdmin`. */
  readonly optional?: 'admin'
  /** A type only, without a value at run time: see {@link typedBy}. A route that only refuses has none. */
  readonly documentation?: TypedBy<D>
}

/** Carries the type of a documentation without its code. */
interface TypedBy<D extends Documentation> {
  readonly type?: D
}

/** Types the replies of a route by its documentation: `documentation: typedBy<typeof documentation>()`. */
export function typedBy<Document extends () => Documentation>(): TypedBy<ReturnType<Document>> {
  return {}
}

/** The route of a function file. The type parameters are inferred. */
export function defineRoute<A extends Access, D extends Documentation>(route: Route<A, D>): Route<A, D> {
  return route
}

export interface ResponseDocumentation {
  readonly description: string
  /** Schema by content type; none for a response without a body. */
  readonly content?: Readonly<Record<string, z.ZodType>>
  /** Headers beside those that every response has. */
  readonly headers?: readonly string[]
}

export interface RequestBody {
  /** The schema that validates, or a JSON Schema where a parser of our own validates. */
  readonly schema: z.ZodType | JsonSchema
  readonly required: boolean
  /** For bodies that are no JSON; `examples` then has one for each of these types, by the type. */
  readonly contentTypes?: readonly string[]
  /** JSON Schema keywords for rules that `schema` cannot express. */
  readonly rules?: JsonSchema
  /** By a name. */
  readonly examples: Readonly<Record<string, unknown>>
}

/** A header or query parameter that no zod schema validates. */
export interface OtherParameter {
  readonly in: 'header' | 'query'
  readonly description: string
  readonly schema: JsonSchema
}

/** A parameter of the path that is no id. */
export interface PathParameter {
  readonly description: string
  readonly schema: JsonSchema
  /** One that exists. */
  readonly example: string
}

export interface Documentation {
  readonly summary: string
  readonly description?: string
  /** Parameters of the path beside `id`, by name. */
  readonly pathParameters?: Readonly<Record<string, PathParameter>>
  /** Validates the query. */
  readonly query?: z.ZodObject
  readonly otherParameters?: Readonly<Record<string, OtherParameter>>
  readonly body?: RequestBody
  /** The query of a typical request. */
  readonly exampleQuery?: Readonly<Record<string, string | number | boolean>>
  /** A sentence for query parameters and fields of the body, by name. */
  readonly fieldDescriptions?: Readonly<Record<string, string>>
  readonly responses: Readonly<Record<number, ResponseDocumentation>>
  /** Statuses of errors beside those that follow from access, path, query and body. */
  readonly errors?: readonly number[]
  /** For routes with aliases: what the document says of each further address. */
  readonly aliases?: Readonly<Record<Address, { readonly operationId: string; readonly description: string }>>
  /** Id of the main operation; by default the name of the function. */
  readonly operationId?: string
}

/** Exports of a function file; a function for events has a handler only. */
export interface FunctionModule {
  readonly handler: unknown
  readonly route?: Route
  readonly documentation?: () => Documentation
}

/** Keeps the exact type of a documentation, so that its statuses and schemas can type the replies. */
export function describeRoute<const D extends Documentation>(documentation: D): D {
  return documentation
}

/** A JSON response. @param headers names of headers beside those that every response has. */
export const json = <S extends z.ZodType>(description: string, schema: S, ...headers: string[]) => ({
  description,
  content: { 'application/json': schema },
  headers,
})

/** Response 304, for a client that has the current version already. */
export const notModified = {
  description: 'The caller has this version already.',
  headers: ['ETag'],
} as const satisfies ResponseDocumentation

/** The request header that makes a 304 possible. */
export const ifNoneMatch: Readonly<Record<string, OtherParameter>> = {
  'If-None-Match': {
    in: 'header',
    description: 'The `ETag` of an answer before: 304 when it is still right.',
    schema: { type: 'string' },
  },
}

/** The parameters of `reply` behind the status, one tuple for each content type. */
type BodyOf<R> = R extends { readonly content: infer Content }
  ? {
      [Type in keyof Content & string]: Type extends 'application/json'
        ? [body: z.output<Content[Type]>]
        : [
            text: string | Uint8Array | ReadableStream<Uint8Array>,
            contentType: Type | `${Type}; ${'' | 'version=0.0.4; ' | 'version=1.0.0; '}charset=utf-8`,
          ]
    }[keyof Content & string]
  : []

/** Makes a response; a status or body that the documentation does not have is a type error. */
export type Reply<D extends Documentation> = <Status extends keyof D['responses'] & number>(
  c: RequestContext,
  status: Status,
  ...body: BodyOf<D['responses'][Status]>
) => Response
