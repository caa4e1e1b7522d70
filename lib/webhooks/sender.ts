/** One HTTP request to a webhook: to a checked address, within a time, and with a bounded answer. */
import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { LookupFunction } from 'node:net'
import { errorCode } from '../errors.ts'
import { version } from '../version.ts'
import { type AddressRules, RefusedAddress, type Resolve } from './address-rules.ts'

/** What came of one request. */
export interface Attempt {
  /** When it began, milliseconds since the epoch. */
  readonly at: number
  readonly durationMs: number
  /** HTTP status of the answer; null when there was none. */
  readonly statusCode: number | null
  /** Why it failed, in our words; null when it succeeded. */
  readonly error: string | null
  /** The beginning of the answer; null when there was none. */
  readonly answer: string | null
}

export interface SenderOptions {
  readonly rules: AddressRules
  readonly resolve: Resolve
  /** Milliseconds since the epoch. */
  readonly now?: () => number
  /** For the whole request, ms. */
  readonly timeoutMs?: number
}

/** Time for the connection, the request and the answer, ms. */
export const sendMs = 10_000
/** Bytes of an answer that are read; the rest is not waited for. */
const maxAnswerBytes = 16_384
/** Characters of an answer that are kept. */
const maxKeptAnswer = 1024

/** Connections are not kept: each is made to an address that was checked for it. */
const agents = { http: new HttpAgent({ keepAlive: false }), https: new HttpsAgent({ keepAlive: false }) }

const sentences: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'The connection was refused.',
  ECONNRESET: 'The connection was closed before the answer.',
  EPIPE: 'The connection was closed before the answer.',
  ENOTFOUND: 'The name of the host is not known.',
  EAI_AGAIN: 'The name of the host could not be resolved.',
  ENETUNREACH: 'The host cannot be reached.',
  EHOSTUNREACH: 'The host cannot be reached.',
  ETIMEDOUT: 'The host cannot be reached.',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'The certificate of the host is not trusted.',
  SELF_SIGNED_CERT_IN_CHAIN: 'The certificate of the host is not trusted.',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'The certificate of the host is not trusted.',
  CERT_HAS_EXPIRED: 'The certificate of the host has expired.',
  ERR_TLS_CERT_ALTNAME_INVALID: 'The certificate is of another host.',
  HPE_HEADER_OVERFLOW: 'The headers of the answer are too large.',
}

/** Texts of errors may hold the address, and an address may hold a token: only their codes are told. */
const sentenceOf = (error: unknown): string => {
  if (error instanceof RefusedAddress) return `The host ${error.message}.`
  const code = errorCode(error)
  if (code === undefined) return 'The request failed.'
  return sentences[code] ?? `The request failed (${code}).`
}

const failureOf = (statusCode: number): string | null => {
  if (statusCode >= 200 && statusCode < 300) return null
  if (statusCode >= 300 && statusCode < 400) return 'The receiver redirects, which is not followed.'
  return `The receiver answered ${statusCode}.`
}

/** The beginning of an answer, until its end, its bound, or the end of the connection. */
const readAnswer = (response: IncomingMessage): Promise<string> =>
  new Promise((resolve) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const end = () => {
      const text = Buffer.concat(chunks).subarray(0, maxAnswerBytes).toString('utf8')
      resolve(text.slice(0, maxKeptAnswer).replaceAll(/[^\P{Cc}\n\t]|\p{Cs}/gu, '\ufffd'))
    }
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes >= maxAnswerBytes) response.destroy()
    })
    response.on('error', end).on('close', end).on('end', end)
  })

export class Sender {
  readonly #options: Required<SenderOptions>

  constructor(options: SenderOptions) {
    this.#options = { now: Date.now, timeoutMs: sendMs, ...options }
  }

  /**
   * Sends a message. @param headers that sign it.
   * @returns undefined when `signal` has ended the request: nobody knows whether the receiver has got it.
   */
  async send(
    message: { url: string; body: string; headers: Readonly<Record<string, string>> },
    signal?: AbortSignal,
  ): Promise<Attempt | undefined> {
    const { now, timeoutMs } = this.#options
    const at = now()
    const started = performance.now()
    const ending = new AbortController()
    const end = () => ending.abort()
    // A timer of our own: a signal of `AbortSignal.timeout` that nobody else holds may be collected before it fires.
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      end()
    }, timeoutMs)
    signal?.addEventListener('abort', end)
    const attempt = (result: Pick<Attempt, 'statusCode' | 'error' | 'answer'>): Attempt => ({
      at,
      durationMs: Math.round(performance.now() - started),
      ...result,
    })
    try {
      if (signal?.aborted) return undefined
      const response = await this.#request(message, ending.signal)
      const statusCode = response.statusCode ?? 0
      // The status decides: a receiver may take its time with the rest of its answer.
      return attempt({ statusCode, error: failureOf(statusCode), answer: await readAnswer(response) })
    } catch (error) {
      if (signal?.aborted) return undefined
      const sentence = isLate ? `There was no answer within ${timeoutMs / 1000} s.` : sentenceOf(error)
      return attempt({ statusCode: null, error: sentence, answer: null })
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      ending.abort()
    }
  }

  async #request(
    { url: text, body, headers }: { url: string; body: string; headers: Readonly<Record<string, string>> },
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const { rules } = this.#options
    const url = new URL(text)
    const problem = rules.problemOf(url)
    if (problem !== undefined) throw new RefusedAddress(problem)
    const isSecure = url.protocol === 'https:'
    const options: RequestOptions = {
      method: 'POST',
      agent: isSecure ? agents.https : agents.http,
      lookup: this.#lookupFor(url),
      signal,
      headers: {
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(body),
        'User-Agent': `IoTFlow/${version}`,
        ...headers,
      },
    }
    return new Promise((resolve, reject) => {
      const request = isSecure ? httpsRequest(url, options) : httpRequest(url, options)
      request.on('response', resolve).on('error', reject)
      // Of an answer 101 there is no other event: the connection is closed without an error.
      request.on('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })))
      request.end(body)
    })
  }

  /** The connection goes to the address that was checked: nobody asks for the name a second time. */
  #lookupFor(url: URL): LookupFunction {
    const { rules, resolve } = this.#options
    return (_host, { all }, callback) => {
      rules.lookup(url, resolve).then(
        (found) => {
          const [first] = found
          if (first === undefined) callback(Object.assign(new Error('no address'), { code: 'ENOTFOUND' }), '')
          else if (all) callback(null, [...found])
          else callback(null, first.address, first.family)
        },
        (error: Error) => callback(error, ''),
      )
    }
  }
}
