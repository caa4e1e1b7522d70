/** Labels of a device: by them operators select devices; see lib/registry/selector.ts. */
import { type SQL, sql } from 'drizzle-orm'
import * as z from 'zod'
import { refuseProto } from '../json.ts'
import { devices } from '../registry/schema.ts'
import { labelKeyPattern, labelValuePattern } from '../registry/selector.ts'
import type { Labels } from './device.ts'

/** Labels of one device. */
export const maxLabels = 32

/** Null removes a label. */
export type LabelChange = Readonly<Record<string, string | null>>

const characters = 'letters, digits, _ . / or -, with a letter or a digit at both ends'
const keyRule = `is no key of a label: 1 to 63 ${characters}`
const valueRule = `must be empty, or have 1 to 63 ${characters}`
const countRule = `must have at most ${maxLabels} labels`

const key = z.string().regex(new RegExp(labelKeyPattern))
const value = z.string(valueRule).regex(new RegExp(labelValuePattern), valueRule)

const recordOf = <Value extends z.ZodType>(values: Value) =>
  z
    .record(key, values, {
      error: ({ code }) => (code === 'invalid_key' ? keyRule : 'must be an object of texts'),
    })
    .refine((labels) => Object.values(labels).filter((one) => one !== null).length <= maxLabels, countRule)

/** The labels of a new device. */
export const newLabels = z
  .preprocess(refuseProto(keyRule), recordOf(value))
  .nullish()
  .meta({ maxProperties: maxLabels })

/** A change of labels: those that it does not name stay; null for all of them removes them all. */
export const labelChange = z.preprocess(refuseProto(keyRule), recordOf(value.nullable())).nullish()

/** What is left of a change where there was no label before. */
export const labelsOf = (change: LabelChange | null | undefined): Labels =>
  Object.fromEntries(
    Object.entries(change ?? {}).filter((label): label is [string, string] => label[1] !== null),
  )

/** The column of a device with these labels. */
export const labelsColumn = (labels: Labels): string | null =>
  Object.keys(labels).length === 0 ? null : JSON.stringify(labels)

/** The column as it is after a change, in SQL: others may change it at the same time. @param change an expression of JSON. */
export const changedLabels = (change: SQL): SQL<string | null> =>
  sql`nullif(json_patch(coalesce(${devices.labels}, '{}'), ${change}), '{}')`

/** Whether a device would have too many of them. @param labels as {@link changedLabels}. */
export const tooManyLabels = (labels: SQL): SQL =>
  sql`(select count(*) from json_each(${labels})) > ${maxLabels}`

/** `site=north,floor=2`: the form in a cell of CSV. @returns undefined for another text. */
export function parseLabels(text: string): Record<string, string> | undefined {
  const labels: Record<string, string> = {}
  for (const part of text.split(',')) {
    const [, name, content] = /^\s*([^=\s]+)\s*=\s*([^=]*?)\s*$/.exec(part) ?? []
    if (name === undefined || content === undefined || name === '__proto__') return undefined
    labels[name] = content
  }
  return labels
}
