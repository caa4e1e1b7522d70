/** Random numbers that are functions: the same seed and keys give the same number, in any order and at any time. */

/** Mixes a number into a 32-bit hash: the finaliser of MurmurHash3. */
const mix = (hash: number, value: number): number => {
  let mixed = Math.imul(hash ^ value, 0x85ebca6b)
  mixed ^= mixed >>> 13
  mixed = Math.imul(mixed, 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

/**
 * A 32-bit hash of whole numbers.
 * @param keys whole numbers up to 2^53: what the number is for, and a time or a count.
 */
export function hashOf(seed: number, ...keys: readonly number[]): number {
  let hash = mix(0x9e3779b9, seed)
  for (const key of keys) hash = mix(mix(hash, key >>> 0), Math.floor(key / 2 ** 32))
  return hash
}

/** A seed made of text, for the name of a device or of a purpose. */
export function seedOf(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return mix(hash, text.length)
}

/** A number in [0, 1). */
export const uniform = (seed: number, ...keys: readonly number[]): number => hashOf(seed, ...keys) / 2 ** 32

/** A number from `min` to `max`. */
export const between = (min: number, max: number, seed: number, ...keys: readonly number[]): number =>
  min + (max - min) * uniform(seed, ...keys)

/** One of the items. */
export const pick = <T>(items: readonly [T, ...T[]], seed: number, ...keys: readonly number[]): T =>
  items[hashOf(seed, ...keys) % items.length] ?? items[0]

/**
 * Smooth noise in [-1, 1] (value noise): random values at every multiple of the period, joined by a curve without corners.
 * @param at ms since the epoch.
 */
export function noise(seed: number, at: number, periodMs: number): number {
  const slot = Math.floor(at / periodMs)
  const part = at / periodMs - slot
  const weight = part * part * (3 - 2 * part)
  const from = 2 * uniform(seed, slot) - 1
  const to = 2 * uniform(seed, slot + 1) - 1
  return from + (to - from) * weight
}
