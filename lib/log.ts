/** The log: one JSON line per request, batch or event. Lines are buffered and written together. */
import { writeSync } from 'node:fs'
import type { LogLevel } from './config.ts'

/** A log writes the lines whose severity is at least that of its level. */
const severity = { debug: 10, info: 20, warn: 30, error: 40, silent: 99 } as const

type Level = Exclude<LogLevel, 'silent'>
type Fields = Readonly<Record<string, unknown>>

export interface Log {
  debug(msg: string, fields?: Fields): void
  info(msg: string, fields?: Fields): void
  warn(msg: string, fields?: Fields): void
  error(msg: string, fields?: Fields): void
  /** True when lines of this level are written; callers can skip building fields for lines that are not. */
  enabled(level: Level): boolean
  /** Writes the buffered lines at once; for the end of a process. */
  flush(): void
}

/** Names of fields whose values never reach a log line. */
const secretField = /key|token|password|secret|authorization|cookie|payload/i

/** The place of a stack frame in our own sources. */
const ownFrame = /(?:functions|lib|local)\/[\w./-]+\.ts:\d+/
/** A place in a bundle of `dist/`, with its column; `npm run trace` turns it into a place in the sources. */
const bundleFrame = /dist\/(?:cloud|local)\/([\w-]+\.mjs:\d+:\d+)/g
/** Frames of a bundle that a line tells: its libraries stand in it, too. */
const maxFrames = 12

/**
 * The loggable part of an error: its name, its code, and where in our sources it was thrown. Messages are left out, because
 * a library's message can hold SQL, parameters and keys.
 */
const errorFields = (error: Error): Record<string, unknown> => {
  const { code } = error as { code?: unknown }
  const { stack = '' } = error
  // The stack begins with the message.
  const frames = stack.slice(Math.max(0, stack.search(/\n\s+at /)))
  const at = ownFrame.exec(frames)?.[0]
  const inBundle = [...frames.matchAll(bundleFrame)].slice(0, maxFrames).map(([, place]) => place)
  return {
    name: error.name,
    ...(typeof code === 'string' ? { code } : {}),
    ...(at === undefined ? {} : { at }),
    ...(at !== undefined || inBundle.length === 0 ? {} : { at: inBundle.join(' ') }),
    ...(error.cause instanceof Error ? { cause: errorFields(error.cause) } : {}),
  }
}

/** Replaces each value of a line that may not or cannot be written as it is. */
const redact = (name: string, value: unknown): unknown => {
  if (secretField.test(name)) return '[redacted]'
  if (typeof value === 'bigint') return value.toString()
  return value instanceof Error ? errorFields(value) : value
}

/** Whether `redact` would change nothing: with a function for each value, a line takes twice as long. */
const isPlain = (fields: Fields): boolean => {
  for (const name in fields) {
    const value = fields[name]
    if (typeof value === 'object' || typeof value === 'function' || typeof value === 'bigint') return false
    if (secretField.test(name)) return false
  }
  return true
}

let textOfTime = { ms: 0, text: '' }

/** Many lines have the same time, and to spell it takes as long as the rest of a line. */
const timeNow = (): string => {
  const ms = Date.now()
  if (ms !== textOfTime.ms) textOfTime = { ms, text: new Date(ms).toISOString() }
  return textOfTime.text
}

const lineOf = (level: Level, msg: string, fields: Fields): string =>
  `${JSON.stringify({ time: timeNow(), level, msg, ...fields }, isPlain(fields) ? undefined : redact)}\n`

/** Writes to standard error; a closed pipe must not end the process. */
export const toStderr = (lines: string) => {
  try {
    writeSync(2, lines)
  } catch {
    // The reader of the log has gone.
  }
}

/** Lines are written at once when more than this is buffered, characters. */
const maxBuffered = 65_536

/**
 * @param write receives one or more whole lines, each ending in a newline.
 * @param restMs how long lines below a warning may wait for others, ms; by default all are written at the end of each turn of the event
 * loop. With a line for each request, to write them takes a twentieth of the main thread otherwise.
 */
export function createLog(level: LogLevel, write: (lines: string) => void = toStderr, restMs = 0): Log {
  const minimum = severity[level]
  let buffered = ''
  let timer: NodeJS.Timeout | undefined
  let flushesThisTurn = false
  const flush = () => {
    const lines = buffered
    buffered = ''
    clearTimeout(timer)
    timer = undefined
    flushesThisTurn = false
    if (lines !== '') write(lines)
  }
  const planFlush = (name: Level) => {
    if (flushesThisTurn) return
    if (restMs === 0 || severity[name] >= severity.warn) {
      flushesThisTurn = true
      setImmediate(flush)
    } else timer ??= setTimeout(flush, restMs)
  }
  const at =
    (name: Level) =>
    (msg: string, fields: Fields = {}) => {
      if (severity[name] < minimum) return
      buffered += lineOf(name, msg, fields)
      if (buffered.length > maxBuffered) flush()
      else planFlush(name)
    }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    enabled: (name) => severity[name] >= minimum,
    flush,
  }
}
