/**
 * Names of the fields of a point. InfluxDB fixes the type of a field for all devices by its first write: a number has the
 * field's own name, a string `<name>|s`, a boolean `<name>|b`, so that two devices cannot block each other.
 */

export const measurement = 'device_telemetry'
/** Milliseconds since the epoch. Every point has it exactly once: counts use it, and it tells which point arrived later. */
export const receivedAtKey = 'received_at'
export const metadataPrefix = 'meta_'

/** Number, string or boolean. */
export type Kind = 'n' | 's' | 'b'

export const kindOf = (value: number | string | boolean): Kind =>
  typeof value === 'number' ? 'n' : typeof value === 'string' ? 's' : 'b'

/** The key of values of one kind. */
export const keyOfKind = (name: string, kind: Kind): string => (kind === 'n' ? name : `${name}|${kind}`)

/** The key that says which kind was written last, for a field that has values of several kinds. */
export const lastKindKey = (name: string): string => `${name}|k`

export const isLastKindKey = (key: string): boolean => key.endsWith('|k')

/** Every key that may belong to a field. */
export const keysOfField = (name: string): string[] => [
  name,
  keyOfKind(name, 's'),
  keyOfKind(name, 'b'),
  lastKindKey(name),
]

/** @returns undefined for a key that holds no value of a field: metadata, the time of arrival, or the last kind. */
export const parseFieldKey = (key: string): { name: string; kind: Kind } | undefined => {
  if (key === receivedAtKey || key.startsWith(metadataPrefix)) return undefined
  const bar = key.indexOf('|')
  if (bar === -1) return { name: key, kind: 'n' }
  const kind = key.slice(bar + 1)
  return kind === 's' || kind === 'b' ? { name: key.slice(0, bar), kind } : undefined
}
