/** One JSON line per request, batch or event. Lines are gathered and written once per turn of the event loop. */
import { writeSync } from 'node:fs'
import type { LogLevel } from './config.ts'

const severity = { debug: 10, info: 20, warn: 30, error: 40, silent: 99 } as const

type Level = Exclude<LogLevel, 'silent'>
type Fields = Readonly<Record<string, unknown>>

export interface Log {
  debug(msg: string, fields?: Fields): void
  info(msg: string, fields?: Fields): void
  warn(msg: string, fields?: Fields): void
  error(msg: string, fields?: Fields): void
  /** True when a line of this level would be written: for callers that would have to build it. */
  enabled(level: Level): boolean
  /** Writes what is gathered at once; for the end of a process. */
  flush(): void
}

/** Fields whose values never reach a log line, whatever put them there. */
const secretField = /key|token|password|secret|authorization|cookie|payload/i

const redact = (name: string, value: unknown): unknown => {
  if (name !== '' && secretField.test(name)) return '[redacted]'
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Error) return fault(value)
  return value
}

/**
 * What of an error may be logged: its kind, its code, and where in our sources it was thrown. A library's message
 * can hold SQL, parameters and keys.
 */
const fault = (error: Error): Record<string, unknown> => {
  const { code } = error as { code?: unknown }
  const own = /(?:functions|lib|local)\/[\w./-]+\.ts:\d+/.exec(error.stack ?? '')
  const cause = error.cause instanceof Error ? { cause: fault(error.cause) } : {}
  return {
    name: error.name,
    ...(typeof code === 'string' ? { code } : {}),
    ...(own ? { at: own[0] } : {}),
    ...cause,
  }
}

/** What begins a field in a line; null for one that is secret. Names are few: they are code. */
const beginnings = new Map<string, string | null>()
const beginningOf = (name: string): string | null => {
  let beginning = beginnings.get(name)
  if (beginning === undefined) {
    beginning = secretField.test(name) ? null : `,${JSON.stringify(name)}:`
    beginnings.set(name, beginning)
  }
  return beginning
}

/** The time of a line as text: many lines are of the same millisecond. */
let shownTime = { at: Number.NaN, text: '' }
const timeText = (): string => {
  const at = Date.now()
  if (at !== shownTime.at) shownTime = { at, text: new Date(at).toISOString() }
  return shownTime.text
}

/** One line; what {@link redact} would do to a value that holds no others is done without asking it of each. */
const lineOf = (level: Level, msg: string, fields: Fields): string => {
  let line = `{"time":"${timeText()}","level":"${level}","msg":${JSON.stringify(msg)}`
  for (const name in fields) {
    const value = fields[name]
    const beginning = beginningOf(name)
    let text: string | undefined
    if (beginning === null || typeof value === 'object' || typeof value === 'bigint')
      text = JSON.stringify(redact(name, value), redact)
    else text = Number.isFinite(value) ? String(value) : JSON.stringify(value)
    if (text !== undefined) line += (beginning ?? `,${JSON.stringify(name)}:`) + text
  }
  return `${line}}\n`
}

/** Writes whole lines to standard error; a closed pipe must not end the process. */
const toStderr = (lines: string) => {
  try {
    writeSync(2, lines)
  } catch {
    // Nobody reads the log any more.
  }
}

/** @param write receives one or more whole lines, each ending in a newline. */
export function createLog(level: LogLevel, write: (lines: string) => void = toStderr): Log {
  const from = severity[level]
  let gathered = ''
  const flush = () => {
    const lines = gathered
    gathered = ''
    if (lines !== '') write(lines)
  }
  const at =
    (name: Level) =>
    (msg: string, fields: Fields = {}) => {
      if (severity[name] < from) return
      if (gathered === '') setImmediate(flush)
      gathered += lineOf(name, msg, fields)
      if (gathered.length > 65_536) flush()
    }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    enabled: (name) => severity[name] >= from,
    flush,
  }
}
