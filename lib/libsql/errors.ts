/** Error codes of SQLite, turned into the errors of the services. */
import { AppError } from '../errors.ts'

/** The errors of a chain of causes, the outermost first: drizzle wraps the errors of its client. */
function* causesOf(error: unknown): Generator<Error & { code?: unknown; extendedCode?: unknown }> {
  for (let at = error; at instanceof Error; at = at.cause) yield at
}

const busyCodes: ReadonlySet<unknown> = new Set(['SQLITE_BUSY', 'SQLITE_LOCKED'])

/** True when other connections held the database for longer than the statement waited: a retry may succeed. */
export function isBusy(error: unknown): boolean {
  for (const { code } of causesOf(error)) if (busyCodes.has(code)) return true
  return false
}

/** An {@link AppError} UNAVAILABLE for a busy database, any other error as it is. */
export const busyAsUnavailable = (error: unknown): unknown =>
  isBusy(error)
    ? new AppError('UNAVAILABLE', 'The database is busy at the moment.', { retryAfterS: 2, cause: error })
    : error

/** By the end of SQLite's extended code, and by its text: servers answer with the base code only. */
const constraints = { unique: 'UNIQUE', check: 'CHECK', 'not null': 'NOT NULL' } as const

/** The constraint because of which the database refused a write; undefined for any other error. */
export function violatedConstraint(error: unknown): keyof typeof constraints | undefined {
  for (const { code, extendedCode, message } of causesOf(error)) {
    if (typeof code !== 'string' || !code.startsWith('SQLITE_CONSTRAINT')) continue
    for (const [name, word] of Object.entries(constraints) as [keyof typeof constraints, string][]) {
      const extended = `SQLITE_CONSTRAINT_${word.replace(' ', '')}`
      if (code === extended || extendedCode === extended || message.includes(`${word} constraint failed`))
        return name
    }
  }
  return undefined
}

/** True for a write that the database refused because a value must be unique. */
export const isUniqueViolation = (error: unknown): boolean => violatedConstraint(error) === 'unique'
