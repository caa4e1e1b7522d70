/** The names of fields and of metadata: which ones are stored, what becomes of others, and which have a meaning of their own. */

/** Characters (code points) of a name. */
export const maxNameLength = 128

/**
 * UTF-16 units of a name as it is sent; a longer one is too long in any form. To compose takes the square of the length: one
 * name of 600 KB with many marks took a minute.
 */
const maxSentLength = 8 * maxNameLength

/** Characters of a name, as the inside of a class of a regular expression with the `u` flag; `_` and blanks only inside. */
const characters = '\\p{L}\\p{M}\\p{N}.:/%°#@&+()$\\-'

/**
 * The source of a regular expression with the `u` flag, without anchors: a name as it is stored. Letters, marks and digits of
 * any script, `. - : / % ° # @ & + ( ) $`, and after the first character also `_` and blanks; no blank at the end.
 */
export const fieldNamePattern = `[${characters}](?:[${characters}_ ]{0,${maxNameLength - 2}}[${characters}_])?`

const storedName = new RegExp(`^${fieldNamePattern}$`, 'u')
const otherCharacter = new RegExp(`[^${characters}_ ]`, 'gu')
/** Names that most devices send: they need neither Unicode's tables nor its normal form. */
const plainName = /^[A-Za-z0-9.:/%#@&+()$-](?:[A-Za-z0-9_ .:/%#@&+()$-]{0,126}[A-Za-z0-9_.:/%#@&+()$-])?$/

export interface FieldName {
  readonly name: string
  /** Whether it differs from the name that was sent, its Unicode form aside. */
  readonly changed: boolean
}

/** A name of any length with the characters of {@link fieldNamePattern}, blanks at its end included. */
const clean = (composed: string): string => composed.replace(otherCharacter, '_').replace(/^[_ ]+/, '')

/**
 * The name under which a value is stored: in Unicode's form NFC, other characters as `_`, without `_` and blanks at its
 * beginning and blanks at its end. Undefined when nothing is left, or more than {@link maxNameLength} characters.
 */
export function fieldName(sent: string): FieldName | undefined {
  if (plainName.test(sent)) return { name: sent, changed: false }
  if (sent.length > maxSentLength) return undefined
  const composed = sent.normalize('NFC')
  if (storedName.test(composed)) return { name: composed, changed: false }
  const name = clean(composed).trimEnd()
  return storedName.test(name) ? { name, changed: true } : undefined
}

const plainBeginning = /^(?!_)(?! )[A-Za-z0-9_ .:/%#@&+()$-]{0,126}$/

/**
 * What the name of an object or array becomes before the names of its values: as {@link fieldName}, but it may be empty, and
 * keeps blanks at its end. Undefined when no name can begin with it, because it is too long.
 */
export function nameBeginning(sent: string): FieldName | undefined {
  if (plainBeginning.test(sent)) return { name: sent, changed: false }
  if (sent.length > maxSentLength) return undefined
  const composed = sent.normalize('NFC')
  const name = clean(composed)
  // A dot and one more character follow.
  if (name.length > maxNameLength - 2 && [...name].length > maxNameLength - 2) return undefined
  return { name, changed: name !== composed }
}

/** Whether a name is one that {@link fieldName} leaves as it is. */
export const isFieldName = (name: string): boolean =>
  plainName.test(name) || (storedName.test(name) && name.normalize('NFC') === name)

/** Keys that say when a reading was taken, the first of them first. All but `tst` count in upper and lower case alike. */
export const timeNames = ['timestamp', 'ts', 'time', 'tst'] as const
export type TimeName = (typeof timeNames)[number]

/** Names that are no fields, beside those of times, `meta_…` and the device's key. A scalar under one of them is metadata. */
const aboutReading: ReadonlySet<string> = new Set([
  'age_ms',
  'device_id',
  'device_type',
  'location',
  'message_id',
  'metadata',
  'received_at',
])

/** The time that a name stands for; undefined for other names. */
export function timeNameOf(name: string): TimeName | undefined {
  if (name === 'tst') return name
  if (name.length !== 2 && name.length !== 4 && name.length !== 9) return undefined
  const lower = name.toLowerCase()
  return lower === 'timestamp' || lower === 'ts' || lower === 'time' ? lower : undefined
}

const secretName = /(?:^|\.)[_ ]*api_key *(?:\.|$)/i

/** Whether a name that {@link fieldName} returned stands for the device's own key, or for a part of it. */
export const isSecret = (name: string): boolean => name.includes('_') && secretName.test(name)

/** Whether devices send their own key under a name, stored or as sent, in any case: its value is stored nowhere. */
export const isSecretName = (name: string): boolean =>
  isSecret(clean(name.length > maxSentLength ? name : name.normalize('NFC')))

/** What a name that {@link fieldName} returned means; undefined for the name of a field. */
export function reservedKind(name: string): 'time' | 'metadata' | 'secret' | undefined {
  if (timeNameOf(name) !== undefined) return 'time'
  if (aboutReading.has(name) || name.startsWith('meta_')) return 'metadata'
  return isSecret(name) ? 'secret' : undefined
}

/** Whether a name that {@link fieldName} returned can not be the name of a field. */
export const isReserved = (name: string): boolean => reservedKind(name) !== undefined
