/** An import of a file: in parts that every server takes, each part after the one before. */
import { splitImport } from '../../../lib/devices/import-parts.ts'
import { type ApiError, post } from '../../api.ts'
import type { ImportAnswer } from './answers.ts'

export interface ImportOutcome {
  readonly created: number
  readonly updated: number
  readonly errors: ImportAnswer['errors']
  readonly keys: ImportAnswer['keys']
  /** Why the rest of the file was not sent; what is counted above was done. */
  readonly failed: ApiError | undefined
}

export interface ImportSettings {
  readonly format: 'csv' | 'ndjson'
  readonly upsert: boolean
  readonly dryRun: boolean
}

/** The format of a file by its name; CSV where the name does not say. */
export const formatOf = (name: string): ImportSettings['format'] =>
  /\.(?:ndjson|jsonl)$/i.test(name) ? 'ndjson' : 'csv'

/** @param onPart called after each part, with the outcome so far. */
export async function runImport(
  text: string,
  { format, upsert, dryRun }: ImportSettings,
  onPart: (outcome: ImportOutcome) => void,
): Promise<ImportOutcome> {
  let outcome: ImportOutcome = { created: 0, updated: 0, errors: [], keys: [], failed: undefined }
  for (const { content, rowOf } of splitImport(text, format)) {
    const answer = await post<ImportAnswer>('admin/devices/import', content, {
      contentType: format === 'csv' ? 'text/csv' : 'application/x-ndjson',
      query: { dry_run: dryRun, upsert },
    })
    if (!answer.ok) return { ...outcome, failed: answer.error }
    const { created, updated, errors, keys } = answer.value
    outcome = {
      created: outcome.created + created,
      updated: outcome.updated + updated,
      errors: [...outcome.errors, ...errors.map((error) => ({ ...error, row: rowOf(error.row) }))],
      keys: [...outcome.keys, ...keys.map((key) => ({ ...key, row: rowOf(key.row) }))],
      failed: undefined,
    }
    onPart(outcome)
  }
  return outcome
}
