/** The part of the log that `npm start` shows on standard error; the log file has all of it. */
import type { Config } from '../lib/config.ts'
import { toStderr } from '../lib/log.ts'

/**
 * At a terminal a line for each request would push the addresses and the link to the dashboard out of sight.
 * Somebody who sets LOG_LEVEL gets what it says.
 */
export const showsWarningsOnly = ({ sources }: Pick<Config, 'sources'>): boolean =>
  process.stderr.isTTY === true && sources.LOG_LEVEL === undefined

/** The beginning of each line of the log, as `createLog` writes it. */
const isSevere = (line: string) => /^\{"time":"[^"]*","level":"(?:warn|error)"/.test(line)

/** The warnings and errors among whole lines. */
export const severeLines = (lines: string): string =>
  lines
    .split('\n')
    .filter(isSevere)
    .map((line) => `${line}\n`)
    .join('')

/** @returns what writes lines of the log to standard error. */
export function shownLog(config: Pick<Config, 'sources'>): (lines: string) => void {
  if (!showsWarningsOnly(config)) return toStderr
  return (lines) => {
    const severe = severeLines(lines)
    if (severe !== '') toStderr(severe)
  }
}
