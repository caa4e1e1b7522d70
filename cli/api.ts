/** The API of the server, as commands call it. An error of the server becomes one sentence. */
import { setTimeout as sleep } from 'node:timers/promises'
import { normalName } from '../lib/registry/folded-texts.ts'
import { CommandError, UsageError } from '../scripts/command.ts'
import { noServer } from './connection.ts'

export const notFound = 4

/** Longest wait for an answer, ms; an import of 10,000 devices takes some seconds. */
const timeoutMs = 120_000
/** Longest wait for the request limit in one request, s. */
const maxWaitS = 120

export type Query = Readonly<Record<string, string | number | boolean | undefined>>

export interface RequestOptions {
  readonly query?: Query
  /** Sent as JSON. */
  readonly body?: unknown
  /** Sent as it is. */
  readonly file?: { readonly type: string; readonly content: string }
}

export interface ApiTarget {
  /** Without a slash at its end. */
  readonly url: string
  /** With the credential. */
  readonly headers: Readonly<Record<string, string>>
}

// biome-ignore lint/suspicious/noExplicitAny: commands read answers by the names that the API documents.
export type Answer = any

interface ErrorBody {
  readonly error?: { readonly code?: string; readonly message?: string }
}

export class Api {
  readonly #target: ApiTarget

  constructor(target: ApiTarget) {
    this.#target = target
  }

  get url(): string {
    return this.#target.url
  }

  get(path: string, query: Query = {}): Promise<Answer> {
    return this.request('GET', path, { query })
  }

  /** @throws {CommandError} one sentence: what the server refuses, or that none answers. */
  async request(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    for (let waitedS = 0; ; ) {
      const response = await this.#send(method, path, options)
      const text = await response.text()
      if (response.status >= 300 && response.status < 400)
        throw new CommandError(`${this.url} refers to another address: name that one with --url.`, noServer)
      if (response.ok) return text === '' ? undefined : JSON.parse(text)
      const afterS = Number(response.headers.get('retry-after') ?? 1)
      if (response.status !== 429 || waitedS + afterS > maxWaitS) throw this.#errorOf(response.status, text)
      waitedS += afterS
      process.stderr.write(`The request limit is reached: going on in ${afterS} s.\n`)
      await sleep(afterS * 1000)
    }
  }

  /** Every item of a list that comes in pages. */
  async *pages(path: string, items: string, query: Query = {}): AsyncGenerator<Answer> {
    let cursor: string | undefined
    do {
      const page = await this.get(path, { ...query, cursor })
      yield* page[items] as Answer[]
      cursor = page.next_cursor
    } while (cursor !== undefined)
  }

  /**
   * The device that an argument names.
   * @param text an id, or the whole name.
   * @throws {CommandError} when there is no such device.
   */
  async device(text: string): Promise<Answer> {
    if (/^[1-9]\d{0,14}$/.test(text)) return (await this.get(`/api/v1/admin/devices/${text}`)).device
    const name = normalName(text)
    for await (const device of this.pages('/api/v1/admin/devices', 'devices', {
      q: name.slice(0, 128),
      limit: 1000,
    }))
      if (device.name === name) return device
    throw new CommandError(`There is no device ${text}.`, notFound)
  }

  async #send(method: string, path: string, { query = {}, body, file }: RequestOptions): Promise<Response> {
    const { url, headers } = this.#target
    const address = new URL(`${url}${path}`)
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) address.searchParams.set(name, String(value))
    const type = file?.type ?? (body === undefined ? undefined : 'application/json')
    try {
      return await fetch(address, {
        method,
        headers: { ...headers, ...(type && { 'Content-Type': type }) },
        ...(type && { body: file?.content ?? JSON.stringify(body) }),
        signal: AbortSignal.timeout(timeoutMs),
        // The token is for this address only.
        redirect: 'manual',
      })
    } catch (error) {
      const { code } = ((error as Error).cause ?? {}) as { code?: string }
      throw new CommandError(`${url} does not answer (${code ?? (error as Error).name}).`, noServer)
    }
  }

  #errorOf(status: number, text: string): Error {
    let error: ErrorBody['error']
    try {
      ;({ error } = JSON.parse(text) as ErrorBody)
    } catch {
      return new CommandError(`${this.url} answered ${status}, and is probably no IoTFlow.`, noServer)
    }
    const message = error?.message ?? `The server answered ${status}.`
    if (status === 401) return new CommandError('The server refuses the admin token.')
    if (status === 404) return new CommandError(message, notFound)
    return status === 422 ? new UsageError(message) : new CommandError(message)
  }
}
