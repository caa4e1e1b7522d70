/** Knows which kinds of values each field name has in the bucket. */
import { type Kind, keyOfKind, lastKindKey, parseFieldKey } from './field-keys.ts'
import { escapeKey } from './text.ts'

/** Calls `each` with every field key of the measurement. @throws {AppError} UNAVAILABLE */
export type LoadFieldKeys = (each: (key: string) => void) => Promise<void>

/** One field name: its kinds so far, and its keys as line protocol spells them, made once instead of in every line. */
class KnownField {
  readonly #kinds: Kind[] = []
  /** Each with the `=` that follows it. */
  readonly number: string
  readonly string: string
  readonly boolean: string
  /** By kind: the assignment that says that this kind was written last. */
  readonly lastKind: Readonly<Record<Kind, string>>

  constructor(name: string) {
    this.number = `${escapeKey(keyOfKind(name, 'n'))}=`
    this.string = `${escapeKey(keyOfKind(name, 's'))}=`
    this.boolean = `${escapeKey(keyOfKind(name, 'b'))}=`
    const lastKind = escapeKey(lastKindKey(name))
    this.lastKind = { n: `${lastKind}="n"`, s: `${lastKind}="s"`, b: `${lastKind}="b"` }
  }

  /** Notes that a value of this kind exists. @returns whether the field has values of several kinds. */
  note(kind: Kind): boolean {
    if (!this.#kinds.includes(kind)) this.#kinds.push(kind)
    return this.#kinds.length > 1
  }
}

export class FieldKinds {
  readonly #fields = new Map<string, KnownField>()
  readonly #load: LoadFieldKeys
  readonly #maxAgeMs: number
  /** Milliseconds of `performance.now()`. */
  #loadedAt = Number.NEGATIVE_INFINITY
  #loading: Promise<void> | undefined

  /** @param maxAgeMs how old the knowledge of fields that other processes wrote may become. */
  constructor(load: LoadFieldKeys, maxAgeMs: number) {
    this.#load = load
    this.#maxAgeMs = maxAgeMs
  }

  field(name: string): KnownField {
    let field = this.#fields.get(name)
    if (field === undefined) {
      field = new KnownField(name)
      this.#fields.set(name, field)
    }
    return field
  }

  /**
   * Resolves when the fields that other processes wrote are known. Only the first call waits for the query; a later refresh
   * runs beside the writes.
   * @throws {AppError} UNAVAILABLE when the first query fails.
   */
  async refresh(): Promise<void> {
    if (performance.now() - this.#loadedAt < this.#maxAgeMs) return
    const first = this.#loadedAt === Number.NEGATIVE_INFINITY
    this.#loading ??= this.#loadOnce().finally(() => {
      this.#loading = undefined
    })
    if (first) await this.#loading
    else this.#loading.catch(() => undefined)
  }

  /** Resolves when no query is running. */
  async close(): Promise<void> {
    await this.#loading?.catch(() => undefined)
  }

  async #loadOnce(): Promise<void> {
    await this.#load((key) => {
      const found = parseFieldKey(key)
      if (found) this.field(found.name).note(found.kind)
    })
    this.#loadedAt = performance.now()
  }
}
