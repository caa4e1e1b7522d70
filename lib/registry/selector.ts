/**
 * Selectors: which devices are meant, by their labels: `site=north,floor!=2`. One parser; its terms become a condition of SQL, or
 * are compared with the labels of one device.
 */
import { type SQL, sql } from 'drizzle-orm'
import * as z from 'zod'
import { devices } from './schema.ts'

export const maxSelectorLength = 1024
const maxTerms = 16

const labelText = '[A-Za-z0-9](?:[A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?'
export const labelKeyPattern = `^${labelText}$`
export const labelValuePattern = `^(?:${labelText})?$`
const labelKey = new RegExp(labelKeyPattern)
const labelValue = new RegExp(labelValuePattern)

/** `k=v` is `in` with one value. `notin` and `absent` also fit a device that has no such key. */
export type Term =
  | { readonly kind: 'in' | 'notin'; readonly key: string; readonly values: readonly string[] }
  | { readonly kind: 'present' | 'absent'; readonly key: string }

/** Terms that must all hold. */
export type Selector = readonly Term[]

/** A text that is no selector: the message names the place. */
export class SelectorError extends Error {
  override readonly name = 'SelectorError'
}

/** Reads a selector from its begin to its end. */
class Parser {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  selector(): Term[] {
    const terms: Term[] = []
    do {
      if (terms.length === maxTerms) throw this.#error(`there are more than ${maxTerms} terms`)
      terms.push(this.#term())
    } while (this.#skip(/,/y))
    if (this.#at < this.#text.length) throw this.#error('a comma or the end was expected')
    return terms
  }

  #term(): Term {
    if (this.#skip(/!/y)) return { kind: 'absent', key: this.#key() }
    const key = this.#key()
    if (this.#skip(/!=/y)) return { kind: 'notin', key, values: [this.#value()] }
    if (this.#skip(/=/y)) return { kind: 'in', key, values: [this.#value()] }
    const [, word] = this.#skip(/(in|notin)(?![A-Za-z0-9_./-])/y) ?? []
    if (word === undefined) return { kind: 'present', key }
    return { kind: word === 'in' ? 'in' : 'notin', key, values: this.#values() }
  }

  #values(): string[] {
    if (!this.#skip(/\(/y)) throw this.#error('values in parentheses were expected')
    const values: string[] = []
    do values.push(this.#value())
    while (this.#skip(/,/y))
    if (!this.#skip(/\)/y)) throw this.#error('a comma or ) was expected')
    return values
  }

  #key(): string {
    const key = this.#word()
    if (labelKey.test(key)) return key
    throw this.#error(key === '' ? 'a key was expected' : 'this is no key of a label', key.length)
  }

  #value(): string {
    const value = this.#word()
    if (labelValue.test(value)) return value
    throw this.#error('this is no value of a label', value.length)
  }

  #word(): string {
    return this.#skip(/[A-Za-z0-9_./-]+/y)?.[0] ?? ''
  }

  /** Goes behind blanks and what the pattern finds there. */
  #skip(pattern: RegExp): RegExpExecArray | undefined {
    const blanks = /\s*/y
    blanks.lastIndex = this.#at
    blanks.exec(this.#text)
    this.#at = blanks.lastIndex
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)
    if (found === null) return undefined
    this.#at = pattern.lastIndex
    return found
  }

  #error(what: string, length = 0): SelectorError {
    return new SelectorError(`has an error at character ${this.#at - length + 1}: ${what}`)
  }
}

/** @throws {SelectorError} also for an empty text: it would mean every device. */
export function parseSelector(text: string): Selector {
  if (text.length > maxSelectorLength)
    throw new SelectorError(`must have at most ${maxSelectorLength} characters`)
  return new Parser(text).selector()
}

/** A text that {@link parseSelector} takes, for every endpoint that has one. */
export const selectorText = z
  .string('must be a selector, such as site=north')
  .superRefine((text, { addIssue }) => {
    try {
      parseSelector(text)
    } catch (error) {
      if (!(error instanceof SelectorError)) throw error
      addIssue({ code: 'custom', message: error.message })
    }
  })
  .meta({
    id: 'Selector',
    description:
      'Devices by their labels: terms with commas between them, which must all hold. `k=v`; `k!=v` (also devices without `k`); `k in (a,b)`; `k notin (a,b)`; `k` (any value); `!k`. At most 16 terms.',
    minLength: 1,
    maxLength: maxSelectorLength,
    examples: ['site=north,floor!=2'],
  })

const holds = (term: Term, labels: Readonly<Record<string, string>>): boolean => {
  const value = Object.hasOwn(labels, term.key) ? labels[term.key] : undefined
  switch (term.kind) {
    case 'in':
      return value !== undefined && term.values.includes(value)
    case 'notin':
      return value === undefined || !term.values.includes(value)
    case 'present':
      return value !== undefined
    case 'absent':
      return value === undefined
  }
}

/** Whether a device with these labels is meant. */
export const fitsSelector = (selector: Selector, labels: Readonly<Record<string, string>>): boolean =>
  selector.every((term) => holds(term, labels))

const ofTerm = (term: Term): SQL => {
  if (!('values' in term)) return sql`key = ${term.key}`
  const [only, ...others] = term.values
  return sql`key = ${term.key} and value ${others.length === 0 ? sql`= ${only}` : sql`in ${term.values}`}`
}

/** Whether a device needs the label to fit: the index of labels finds the devices of such a term. */
export const isPositive = ({ kind }: Term): boolean => kind === 'in' || kind === 'present'

/** A condition that is looked up for each candidate. */
const lookedUp = (term: Term): SQL => sql`${isPositive(term) ? sql`` : sql`not `}exists (
  select 1 from device_labels where device_id = ${devices.id} and ${ofTerm(term)})`

/** Terms that leave devices out, where all devices are candidates: one list for all is quicker than looking each up. */
const leftOut = (term: Term): SQL =>
  sql`${devices.id} not in (select device_id from device_labels where ${ofTerm(term)})`

/** Rows of a term that are counted to find the rarest one. */
const countedRows = 10_000

type InTerm = Extract<Term, { readonly values: readonly string[] }>

/** The devices of the rarest of several terms: of `site=north,serial=7` those of the serial number. */
const ofRarest = (terms: readonly InTerm[]): SQL => {
  const rowsOf = (term: SQL) => sql`json_each(${term}, '$.values') as v
    cross join device_labels as l on l.key = ${term} ->> 'key' and l.value = v.value`
  return sql`select l.device_id from (
      select t.value as term from json_each(${JSON.stringify(terms)}) as t
      order by (select count(*) from (select 1 from ${rowsOf(sql`t.value`)} limit ${countedRows})) limit 1) as best
    cross join ${rowsOf(sql`best.term`)}`
}

/** Conditions that an index answers alone: they find the candidates for which all other terms are looked up. */
const findCandidates = (selector: Selector): { readonly found: SQL[]; readonly by?: Term | undefined } => {
  const terms = selector.filter((term): term is InTerm => term.kind === 'in')
  if (terms.length > 1) return { found: [sql`${devices.id} in (${ofRarest(terms)})`] }
  const by = terms[0] ?? selector.find(isPositive)
  if (by === undefined) return { found: [] }
  return { found: [sql`${devices.id} in (select device_id from device_labels where ${ofTerm(by)})`], by }
}

/**
 * The condition of a statement on `devices`. Where a term is {@link isPositive}, a condition on another index should stand beside it
 * as `+column`: SQLite cannot know that the labels find fewer.
 */
export function selectorCondition(selector: Selector): SQL {
  const { found, by } = findCandidates(selector)
  const others = selector.filter((term) => term !== by).map(found.length > 0 ? lookedUp : leftOut)
  return sql`(${sql.join([...found, ...others], sql` and `)})`
}
