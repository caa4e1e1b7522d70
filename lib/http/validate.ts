/** Validation of bodies, queries, path parameters and headers: every refused field is named. */
import type * as z from 'zod'
import { AppError, type ErrorDetail } from '../errors.ts'
import { isNestedWithin, maxLevels } from '../json.ts'
import { readJson } from './body.ts'
import type { RequestContext } from './context.ts'

const maxDetails = 100
const maxMessageLength = 500

const validate = <S extends z.ZodType>(schema: S, value: unknown, what: 'body' | 'query'): z.output<S> => {
  if (!isNestedWithin(maxLevels, value)) {
    const message = `is nested more deeply than ${maxLevels} levels`
    throw new AppError('VALIDATION_FAILED', `The ${what} ${message}.`, { details: [{ path: '', message }] })
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const details: ErrorDetail[] = parsed.error.issues
    .slice(0, maxDetails)
    .map((issue) => ({ path: issue.path.join('.'), message: issue.message }))
  const fields = details
    .map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
    .join('; ')
  const message = `The ${what} is not valid: ${fields.slice(0, maxMessageLength)}.`
  throw new AppError('VALIDATION_FAILED', message, { details })
}

/** @throws {AppError} as {@link readJson}, and VALIDATION_FAILED naming each refused field. */
export async function jsonBody<S extends z.ZodType>(c: RequestContext, schema: S): Promise<z.output<S>> {
  const body = await readJson(c)
  if (body === undefined) throw new AppError('MALFORMED_JSON', 'The body is empty: JSON is expected.')
  return validate(schema, body, 'body')
}

/** Like {@link jsonBody}, but an empty body counts as an empty object. */
export async function optionalBody<S extends z.ZodType>(c: RequestContext, schema: S): Promise<z.output<S>> {
  const body = await readJson(c)
  return validate(schema, body === undefined ? {} : body, 'body')
}

/**
 * The fields of the body, or of the query where there is no body. Beside a body the query must be valid too.
 * @throws {AppError} as {@link jsonBody}.
 */
export async function bodyOrQuery<S extends z.ZodObject>(c: RequestContext, schema: S): Promise<z.output<S>> {
  const body = await readJson(c)
  if (body === undefined) return queryOf(c, schema)
  queryOf(c, schema.partial())
  return validate(schema, body, 'body')
}

/** The query parameters; the first one counts where one is repeated. @throws {AppError} VALIDATION_FAILED */
export const queryOf = <S extends z.ZodType>(c: RequestContext, schema: S): z.output<S> =>
  validate(schema, c.req.query(), 'query')

/**
 * The id in the path. @param what the id stands for. @param name of the parameter.
 * @throws {AppError} NOT_FOUND for text that is not an id.
 */
export function idOf(c: RequestContext, what = 'device', name = 'id'): number {
  const text = c.req.param(name) ?? ''
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new AppError('NOT_FOUND', `There is no such ${what}.`)
  return Number(text)
}

/**
 * The Idempotency-Key header, by which a sender marks a request that it may send again; undefined when there is none.
 * @throws {AppError} VALIDATION_FAILED
 */
export function idempotencyKeyOf(c: RequestContext): string | undefined {
  const key = c.req.header('idempotency-key') || undefined
  if (key === undefined || /^[\x21-\x7e]{1,255}$/.test(key)) return key
  const message = 'must be 1 to 255 visible ASCII characters'
  throw new AppError('VALIDATION_FAILED', `Idempotency-Key ${message}.`, {
    details: [{ path: 'Idempotency-Key', message }],
  })
}
