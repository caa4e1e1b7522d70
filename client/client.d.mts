/** A client of the HTTP API, for Node and browsers. Its types are those of the OpenAPI document. */
import type { Client } from 'openapi-fetch'
import type { components, operations, paths } from './schema.d.ts'

export type { components, operations, paths }

export type IotflowClient = Client<paths>

export interface ClientOptions {
  /** Origin of the server: `http://localhost:5000`. */
  readonly url: string
  /** The credentials that every request shows. A device has only its own key. */
  readonly apiKey?: string
  readonly adminToken?: string
  readonly enrollmentKey?: string
  /** Replaces the global `fetch`. */
  readonly fetch?: (request: Request) => Promise<Response>
}

/** One method for each method of HTTP: `client.GET('/api/v1/telemetry/{id}/latest', { params: { path: { id: 7 } } })`. */
export function createClient(options: ClientOptions): IotflowClient

type ApiError = components['schemas']['Error']['error']

/** A request that the server refused. */
export class RequestError extends Error {
  override readonly name: 'RequestError'
  /** Of HTTP. */
  readonly status: number
  /** `NOT_FOUND`, …; `HTTP_502` and such when the answer does not come from IoTFlow. */
  readonly code: string
  /** The name of the request in the log of the server; undefined when the answer does not come from IoTFlow. */
  readonly requestId: string | undefined
  readonly details: NonNullable<ApiError['details']>
}

/**
 * The body of an answer: `await answerOf(client.GET('/health'))`.
 * @throws {RequestError} when the status is not 2xx.
 * @throws {TypeError} of `fetch` when no server answers.
 */
export function answerOf<Data>(
  call: Promise<{ data?: Data; error?: unknown; response: Response }>,
): Promise<NonNullable<Data>>
