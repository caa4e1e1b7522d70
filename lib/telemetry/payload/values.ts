/** Collects the fields, the metadata and the warnings of one reading from the values that a device sent. */
import type { FieldValue, Warning, WarningCode } from '../reading.ts'
import {
  type FieldName,
  fieldName,
  isSecret,
  maxNameLength,
  nameBeginning,
  reservedKind,
  type TimeName,
  timeNameOf,
} from './names.ts'

export type Json = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const maxFields = 256
/** Entries of the device; our own {@link ownMetadata} stand outside of it. */
export const maxMetadata = 32
/** Bytes of UTF-8. */
export const maxStringBytes = 4096
export const maxMessageIdLength = 128
/** Warnings of one reading that are named; further ones are counted. */
const maxWarnings = 50

/** Entries of the metadata that we write. */
const ownMetadata: ReadonlySet<string> = new Set(['subtopic', 'device_time'])

/** Where values stand in a message. */
export interface Source {
  /** Stands before a name in a warning: `data.`, or nothing. */
  readonly path: string
  /** What a string becomes that is not nested and has no reserved name. */
  readonly strings: 'field' | 'metadata'
}

/** A value whose name says that it is the time of the reading. */
export interface TimeCandidate {
  readonly kind: TimeName | 'age_ms'
  /** The name under which it is metadata when it is not the time. */
  readonly name: string
  readonly path: string
  readonly value: Scalar
  readonly source: Source
}

type Scalar = FieldValue

const lengthRule = `a name has 1 to ${maxNameLength} characters`

const leftOut = {
  TOO_MANY_FIELDS: `is left out: a reading has at most ${maxFields} fields`,
  TOO_MUCH_METADATA: `is left out: at most ${maxMetadata} entries are kept`,
}

const isEmpty = (values: object): boolean => {
  for (const _ in values) return false
  return true
}

/** Calls `use` with each value of an object or array; long arrays have no list of their keys made. */
const forEach = (values: object, use: (key: string | number, value: unknown) => void): void => {
  if (Array.isArray(values)) for (let at = 0; at < values.length; at += 1) use(at, values[at])
  else for (const key in values) use(key, (values as Json)[key])
}

/** A path as an answer may show it: without halves of characters, which databases refuse. */
const shown = (path: string): string =>
  path.length > maxNameLength ? `${path.slice(0, maxNameLength).toWellFormed()}…` : path.toWellFormed()

const isTooLong = (text: string): boolean =>
  text.length > maxStringBytes ||
  (text.length * 3 > maxStringBytes && Buffer.byteLength(text) > maxStringBytes)

/** Why a value cannot be kept; undefined when it can. */
const valueFault = (value: Scalar): string | undefined => {
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : 'must be a finite number'
  if (typeof value === 'string' && isTooLong(value)) return `must have at most ${maxStringBytes} bytes`
  return undefined
}

/** The id that a device gave a message; undefined when it is none. */
const messageIdOf = (id: Scalar): string | undefined => {
  // A larger number has lost its last digits: two messages would get one id.
  if (typeof id === 'number' && Number.isSafeInteger(id)) return String(id)
  if (typeof id === 'string' && id !== '' && id.length <= maxMessageIdLength && id.isWellFormed()) return id
  return undefined
}

export class ReadingBuilder {
  readonly fields: Record<string, FieldValue> = {}
  fieldCount = 0
  metadata: Record<string, string> | undefined
  /** Undefined while there is none. */
  times: TimeCandidate[] | undefined
  messageId: string | undefined
  readonly #index: number
  #metadataCount = 0
  #warnings: Warning[] | undefined
  #unnamedWarnings = 0

  /** @param index position of the reading in its message. */
  constructor(index: number, subtopic: string | undefined) {
    this.#index = index
    if (subtopic !== undefined) this.metadata = { subtopic }
  }

  /** Adds every value of an object except one, nested ones under names with dots. */
  addValues(values: Json, source: Source, except?: string): void {
    for (const key in values)
      if (key !== except) this.#add({ name: key, changed: false }, source.path + key, values[key], source)
  }

  /** Adds a value under exactly this name. @param path names the value in warnings. */
  addField(name: string, value: Scalar, path: string): void {
    const fault = valueFault(value)
    if (fault !== undefined) this.warn('VALUE_INVALID', path, fault)
    else if (Object.hasOwn(this.fields, name))
      this.warn('NAME_CLASH', path, `is left out: another value is named ${name}`)
    else if (this.fieldCount === maxFields) this.#leaveOut('TOO_MANY_FIELDS', path, value)
    else {
      this.fieldCount += 1
      if (typeof value === 'string') this.fields[name] = this.#wellFormed(value, path)
      // JSON has a negative zero, and no store keeps it.
      else this.fields[name] = value === 0 ? 0 : value
    }
  }

  /** Adds an entry of the metadata under exactly this name. @param path names the value in warnings. */
  addMetadata(name: string, value: Scalar, path: string): void {
    const fault = valueFault(value)
    if (fault === undefined) this.#addText(name, String(value), path)
    else this.warn('METADATA_INVALID', path, fault)
  }

  /** Sets one of our own entries; an entry of the device with this name is left out. */
  setOwnMetadata(name: 'device_time', text: string): void {
    this.metadata ??= {}
    if (Object.hasOwn(this.metadata, name))
      this.warn('NAME_CLASH', `metadata.${name}`, `is left out: other metadata is named ${name}`)
    this.metadata[name] = text
  }

  /**
   * Adds a value under the name that this one becomes; under a reserved one it is metadata.
   * @returns the name of the field; undefined when it is not one.
   */
  addNamed(sent: string, value: Scalar, path: string): string | undefined {
    const found = fieldName(sent)
    if (found === undefined) {
      this.warn('NAME_INVALID', path, `is left out: ${lengthRule}`)
      return undefined
    }
    const { name, changed } = found
    const reserved = reservedKind(name)
    if (reserved === 'secret') return undefined
    if (changed) this.warn('NAME_CHANGED', path, `is taken as ${name}`)
    if (reserved === undefined) this.addField(name, value, path)
    else this.addMetadata(name, value, path)
    return reserved === undefined ? name : undefined
  }

  /** Adds entries that the reading has not: what stands beside a batch is said of each of its readings. */
  addMissingMetadata(entries: Readonly<Record<string, string>>): void {
    for (const [name, text] of Object.entries(entries))
      if (this.metadata === undefined || !Object.hasOwn(this.metadata, name))
        this.addMetadata(name, text, name)
  }

  /** Adds a value that is said to be a time, but is not the time of this reading. */
  keepTime({ name, value, path }: TimeCandidate): void {
    this.addMetadata(name, value, path)
  }

  /** @param message half a sentence that follows the path. */
  warn(code: WarningCode, path: string, message: string): void {
    this.#warnings ??= []
    if (this.#warnings.length === maxWarnings) this.#unnamedWarnings += 1
    else this.#warnings.push({ index: this.#index, path: shown(path), code, message })
  }

  /** The warnings so far; undefined when there is none. */
  warnings(): readonly Warning[] | undefined {
    if (this.#unnamedWarnings === 0) return this.#warnings
    const message = `has ${this.#unnamedWarnings} more warnings`
    return [...(this.#warnings ?? []), { index: this.#index, path: '', code: 'MORE_WARNINGS', message }]
  }

  /** @param sent its beginning is already what {@link nameBeginning} made of it. */
  #add(sent: FieldName, path: string, value: unknown, source: Source): void {
    if (value === null || value === undefined) return
    if (typeof value === 'object') this.#addNested(sent, path, value, source)
    else {
      const found = fieldName(sent.name)
      if (found === undefined) this.warn('NAME_INVALID', path, `is left out: ${lengthRule}`)
      else this.#addScalar(found.name, sent.changed || found.changed, value as Scalar, path, source)
    }
  }

  #addScalar(name: string, changed: boolean, value: Scalar, path: string, source: Source): void {
    const reserved = reservedKind(name)
    if (reserved === 'secret') return
    if (changed) this.warn('NAME_CHANGED', path, `is taken as ${name}`)
    if (reserved === undefined) {
      if (source.strings === 'metadata' && typeof value === 'string') this.addMetadata(name, value, path)
      else this.addField(name, value, path)
      return
    }
    const kind = name === 'age_ms' ? name : timeNameOf(name)
    if (kind !== undefined) {
      this.times ??= []
      this.times.push({ kind, name, path, value, source })
      return
    }
    if (name === 'message_id') {
      const id = messageIdOf(value)
      this.messageId ??= id
      if (id === undefined)
        this.warn(
          'MESSAGE_ID_INVALID',
          path,
          `must be a string of 1 to ${maxMessageIdLength} characters, or a whole number up to 2^53 - 1`,
        )
    }
    this.addMetadata(name, value, path)
  }

  #addNested(sent: FieldName, path: string, values: object, source: Source): void {
    if (isEmpty(values)) return
    const beginning = nameBeginning(sent.name)
    if (beginning === undefined) {
      this.warn('NAME_INVALID', path, `is left out: ${lengthRule}`)
      return
    }
    const reserved = reservedKind(beginning.name.trimEnd())
    if (reserved === 'secret') return
    if (beginning.name === 'metadata' && !Array.isArray(values)) {
      this.#addMetadataOf(values, { name: '', changed: beginning.changed }, 'metadata')
      return
    }
    const nested = source.strings === 'field' ? source : { ...source, strings: 'field' as const }
    const changed = sent.changed || beginning.changed
    forEach(values, (key, value) => {
      const inside = `${path}.${key}`
      if (this.fieldCount === maxFields && reserved === undefined)
        this.#leaveOut('TOO_MANY_FIELDS', inside, value)
      else this.#add({ name: `${beginning.name}.${key}`, changed }, inside, value, nested)
    })
  }

  /** @param before the beginning of the names, with its dot. */
  #addMetadataOf(values: object, before: FieldName, path: string): void {
    forEach(values, (key, value) => {
      const inside = `${path}.${key}`
      const name = before.name + key
      if (this.#metadataCount === maxMetadata && !ownMetadata.has(name))
        this.#leaveOut('TOO_MUCH_METADATA', inside, value)
      else this.#addMetadataEntry({ name, changed: before.changed }, value, inside)
    })
  }

  #addMetadataEntry(sent: FieldName, value: unknown, path: string): void {
    if (value === null || value === undefined) return
    const isNested = typeof value === 'object'
    if (isNested && isEmpty(value)) return
    const found = isNested ? nameBeginning(sent.name) : fieldName(sent.name)
    if (found === undefined) {
      this.warn('NAME_INVALID', path, `is left out: ${lengthRule}`)
      return
    }
    const { name } = found
    const changed = sent.changed || found.changed
    if (isSecret(name)) return
    if (isNested) this.#addMetadataOf(value, { name: `${name}.`, changed }, path)
    else {
      if (changed) this.warn('NAME_CHANGED', path, `is taken as ${name}`)
      this.addMetadata(name, value as Scalar, path)
    }
  }

  #leaveOut(code: 'TOO_MANY_FIELDS' | 'TOO_MUCH_METADATA', path: string, value: unknown): void {
    if (value !== null) this.warn(code, path, leftOut[code])
  }

  /** Adds a valid entry of the metadata. */
  #addText(name: string, text: string, path: string): void {
    this.metadata ??= {}
    const isOwn = ownMetadata.has(name)
    if (Object.hasOwn(this.metadata, name)) {
      if (this.metadata[name] !== text)
        this.warn('NAME_CLASH', path, `is left out: other metadata is named ${name}`)
    } else if (this.#metadataCount === maxMetadata && !isOwn) this.#leaveOut('TOO_MUCH_METADATA', path, text)
    else {
      if (!isOwn) this.#metadataCount += 1
      this.metadata[name] = this.#wellFormed(text, path)
    }
  }

  #wellFormed(text: string, path: string): string {
    if (text.isWellFormed()) return text
    this.warn('INVALID_UTF8', path, 'has halves of characters: they are stored as U+FFFD')
    return text.toWellFormed()
  }
}
