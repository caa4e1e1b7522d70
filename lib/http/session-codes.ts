/** Single-use codes that a browser exchanges for the admin token: so the token stands in no address. In memory only. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

/** Time in which a code can be used, ms. */
export const codeValidMs = 300_000
/** 160 bits: nobody can guess one. */
const codeBytes = 20
/** Codes that are valid at once; a further one replaces the oldest. */
const maxCodes = 10

const digest = (code: string) => createHash('sha256').update(code).digest()

export class SessionCodes {
  readonly #now: () => number
  #codes: { readonly digest: Buffer; readonly validUntil: number }[] = []

  /** @param now milliseconds since the epoch. */
  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  /** A new code, of 27 characters that need no escapes in an address. */
  make(): string {
    const code = randomBytes(codeBytes).toString('base64url')
    const validUntil = this.#now() + codeValidMs
    this.#codes = [...this.#codes, { digest: digest(code), validUntil }].slice(-maxCodes)
    return code
  }

  /** Uses a code up. @returns false for one that was never made, is used up or too old. */
  use(code: string): boolean {
    const given = digest(code)
    const now = this.#now()
    let found = false
    // Every code is compared, in constant time: the time must not tell how much of one fits.
    this.#codes = this.#codes.filter((known) => {
      const fits = timingSafeEqual(known.digest, given)
      if (fits && now < known.validUntil) found = true
      return !fits && now < known.validUntil
    })
    return found
  }
}
