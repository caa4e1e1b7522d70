/** Bodies and parameters: bounded, decoded, checked; every refused field is named. */
import { Readable } from 'node:stream'
import type * as z from 'zod'
import { AppError, type ErrorDetail } from '../errors.ts'
import { decodeJson } from '../json.ts'
import { type Call, headerOf } from './endpoint.ts'

/** Largest body, bytes. */
export const maxBodyBytes = 1024 * 1024

const tooLarge = () => new AppError('PAYLOAD_TOO_LARGE', `The body is larger than ${maxBodyBytes} bytes.`)

/** What Node receives, without the copies that a `Request` makes of it. @throws {AppError} PAYLOAD_TOO_LARGE */
const readIncoming = (incoming: Readable): Promise<Uint8Array> =>
  new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    let bytes = 0
    incoming.on('data', (chunk: Uint8Array) => {
      bytes += chunk.length
      if (bytes <= maxBodyBytes) chunks.push(chunk)
      else {
        incoming.pause()
        reject(tooLarge())
      }
    })
    incoming.on('end', () => resolve(chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks)))
    // It closes after its end too, and an error costs as much as all of this.
    incoming.on('close', () => {
      if (!incoming.readableEnded) reject(new Error('The connection was closed.'))
    })
    incoming.on('error', reject)
  })

/** A body of unknown length is read piece by piece, so that no more than the bound is ever held. */
const readPieces = async (request: Request): Promise<Uint8Array> => {
  const chunks: Uint8Array[] = []
  let bytes = 0
  const reader = request.body?.getReader()
  for (let part = await reader?.read(); part !== undefined && !part.done; part = await reader?.read()) {
    bytes += part.value.length
    if (bytes > maxBodyBytes) throw tooLarge()
    chunks.push(part.value)
  }
  return Buffer.concat(chunks)
}

/** @throws {AppError} PAYLOAD_TOO_LARGE, also before there is a promise. */
const readBytes = (c: Call): Promise<Uint8Array> => {
  const length = headerOf(c, 'content-length')
  if (length !== undefined && !(Number(length) <= maxBodyBytes)) throw tooLarge()
  const incoming = c.env?.incoming
  if (incoming instanceof Readable && !incoming.readableDidRead && !incoming.destroyed)
    return readIncoming(incoming)
  if (length !== undefined && headerOf(c, 'transfer-encoding') === undefined)
    return c.req.raw.arrayBuffer().then((buffer) => new Uint8Array(buffer))
  return readPieces(c.req.raw)
}

const isJson = (contentType: string) => /^application\/(?:json|[\w.+-]+\+json)\s*(?:;|$)/i.test(contentType)

/**
 * The body as JSON; undefined when it is empty.
 * @throws {AppError} PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, MALFORMED_JSON
 */
export function readJson(c: Call): Promise<unknown> {
  let reading: Promise<Uint8Array>
  try {
    reading = readBytes(c)
  } catch (error) {
    reading = Promise.reject(error)
  }
  return reading.then((bytes) => jsonOf(c, bytes), unreadable)
}

const unreadable = (error: unknown): never => {
  if (error instanceof AppError) throw error
  throw new AppError('BAD_REQUEST', 'The body could not be read to its end.', { cause: error })
}

const jsonOf = (c: Call, bytes: Uint8Array): unknown => {
  if (bytes.length === 0) return undefined
  const contentType = headerOf(c, 'content-type')
  if (contentType !== undefined && !isJson(contentType)) {
    throw new AppError(
      'UNSUPPORTED_MEDIA_TYPE',
      'The body must be JSON: send Content-Type: application/json.',
    )
  }
  return decodeJson(bytes)
}

const toDetails = (issues: readonly z.core.$ZodIssue[]): ErrorDetail[] =>
  issues.slice(0, 100).map((issue) => ({ path: issue.path.join('.'), message: issue.message }))

const check = <S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> => {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const details = toDetails(parsed.error.issues)
  const names = details.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ')
  throw new AppError('VALIDATION_FAILED', `The ${what} is not valid: ${names.slice(0, 500)}.`, { details })
}

/** @throws {AppError} as {@link readJson}, and VALIDATION_FAILED naming each refused field. */
export async function jsonBody<S extends z.ZodType>(c: Call, schema: S): Promise<z.output<S>> {
  const body = await readJson(c)
  if (body === undefined) throw new AppError('MALFORMED_JSON', 'The body is empty: JSON is expected.')
  return check(schema, body, 'body')
}

/** As {@link jsonBody}; an empty body counts as an empty object. */
export async function optionalBody<S extends z.ZodType>(c: Call, schema: S): Promise<z.output<S>> {
  const body = await readJson(c)
  return check(schema, body === undefined ? {} : body, 'body')
}

/**
 * The fields of the body, or of the query where there is no body; beside a body what the query says has to be valid too.
 * @throws {AppError} as {@link jsonBody}.
 */
export async function bodyOrQuery<S extends z.ZodObject>(c: Call, schema: S): Promise<z.output<S>> {
  const body = await readJson(c)
  if (body === undefined) return queryOf(c, schema)
  queryOf(c, schema.partial())
  return check(schema, body, 'body')
}

/** The parameters of the query; of one given twice the first counts. @throws {AppError} VALIDATION_FAILED */
export const queryOf = <S extends z.ZodType>(c: Call, schema: S): z.output<S> =>
  check(schema, c.req.query(), 'query')

/** The id in the path. @throws {AppError} NOT_FOUND for anything that is not the number of a device. */
export function idOf(c: Call): number {
  const text = c.req.param('id') ?? ''
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new AppError('NOT_FOUND', 'There is no such device.')
  return Number(text)
}

/**
 * The sender's word for a request that it may send again; undefined when it has none.
 * @throws {AppError} VALIDATION_FAILED
 */
export function idempotencyKeyOf(c: Call): string | undefined {
  const key = headerOf(c, 'idempotency-key') || undefined
  if (key === undefined || /^[\x21-\x7e]{1,255}$/.test(key)) return key
  const message = 'must be 1 to 255 visible ASCII characters'
  throw new AppError('VALIDATION_FAILED', `Idempotency-Key ${message}.`, {
    details: [{ path: 'Idempotency-Key', message }],
  })
}
