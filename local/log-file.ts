/** The log of the server in its data directory, beside standard error: bounded, because older files are deleted. */
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** Size from which a new file is begun, bytes. */
const maxFileBytes = 10 * 1024 * 1024
/** Files of this size that are kept, with the one that is written. */
const keptFiles = 5

export const logFolder = (dataDir: string): string => join(dataDir, 'logs')

/** The file that is written; older ones end in `.1`, `.2` and so on. */
export const logFile = (dataDir: string): string => join(logFolder(dataDir), 'iotflow.log')

export interface LogFileOptions {
  readonly maxBytes?: number
  readonly kept?: number
}

export class LogFile {
  readonly #path: string
  readonly #maxBytes: number
  readonly #kept: number
  #file: number | undefined
  #bytes = 0

  /** @throws {Error} with a code when the file cannot be written. */
  constructor(dataDir: string, { maxBytes = maxFileBytes, kept = keptFiles }: LogFileOptions = {}) {
    mkdirSync(logFolder(dataDir), { recursive: true, mode: 0o700 })
    this.#path = logFile(dataDir)
    this.#maxBytes = maxBytes
    this.#kept = kept
    this.#open()
  }

  /** Writes whole lines. A full disk must not stop the server: then they are only on standard error. */
  write(lines: string): void {
    try {
      if (this.#file === undefined) this.#open()
      const bytes = Buffer.from(lines)
      writeSync(this.#file as number, bytes)
      this.#bytes += bytes.length
      if (this.#bytes > this.#maxBytes) this.#rotate()
    } catch {
      this.close()
    }
  }

  close(): void {
    if (this.#file === undefined) return
    try {
      closeSync(this.#file)
    } catch {
      // It is closed already.
    }
    this.#file = undefined
  }

  #open(): void {
    this.#file = openSync(this.#path, 'a', 0o600)
    this.#bytes = fstatSync(this.#file).size
  }

  #rotate(): void {
    this.close()
    for (let number = this.#kept - 2; number >= 0; number--) {
      const from = number === 0 ? this.#path : `${this.#path}.${number}`
      try {
        renameSync(from, `${this.#path}.${number + 1}`)
      } catch {
        // There are not so many files yet.
      }
    }
    this.#open()
  }
}
