/** API keys: random, shown once, kept as their SHA-256 only. */
import { hash, randomBytes } from 'node:crypto'

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

/** Characters of a key that may be shown, to tell keys apart. */
export const prefixLength = 6

const keyShape = /^[A-Za-z0-9]{24,64}$/

/**
 * A new key of letters and digits, each drawn evenly: 5.95 bits a character.
 * @param length 24–64 characters.
 */
export function mintKey(length: number): string {
  let key = ''
  while (key.length < length) {
    for (const byte of randomBytes(length)) {
      // 248 is the largest multiple of 62 in a byte: above it the draw would favour the first letters.
      if (byte < 248 && key.length < length) key += alphabet[byte % 62]
    }
  }
  return key
}

/** False for text that no key of ours can be: it is refused without a look into the registry. */
export const looksLikeKey = (text: string): boolean => keyShape.test(text)

/** SHA-256 in hex. Keys are random, so a plain digest cannot be reversed by guessing. */
export const digestKey = (key: string): string => hash('sha256', key)

export const keyPrefix = (key: string): string => key.slice(0, prefixLength)
