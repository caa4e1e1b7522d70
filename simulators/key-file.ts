/** The keys of simulated devices, kept in a file that only its owner can read, so that a second run uses them again. */
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { SimulationError } from './http-client.ts'
import type { Identity } from './uplink.ts'

type Key = Pick<Identity, 'id' | 'apiKey'>
/** By URL of the server, then by name of the device. */
type Content = Record<string, Record<string, Key>>

/** Where the keys are by default, relative to the working directory. */
export const defaultKeyFile = '.iotflow-simulator/keys.json'

const isKey = (value: unknown): value is Key => {
  const { id, apiKey } = (value ?? {}) as Partial<Key>
  return typeof id === 'number' && typeof apiKey === 'string'
}

const read = (path: string): Content => {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw new SimulationError(`The key file ${path} could not be read: ${(error as Error).message}.`)
  }
  try {
    return JSON.parse(text) as Content
  } catch {
    throw new SimulationError(`The key file ${path} is no JSON: delete it, or name another one with --keys.`)
  }
}

/** The keys for one server. */
export class KeyFile {
  readonly path: string
  readonly #server: string

  /** @param server base URL. */
  constructor(path: string, server: string) {
    this.path = path
    this.#server = server
  }

  /**
   * The stored keys of the devices, by name.
   * @throws {SimulationError} when the file cannot be read.
   */
  load(): Map<string, Identity> {
    const stored = Object.entries(read(this.path)[this.#server] ?? {})
    return new Map(
      stored.flatMap(([name, key]) =>
        isKey(key) ? [[name, { id: key.id, name, apiKey: key.apiKey }] as const] : [],
      ),
    )
  }

  /**
   * Adds keys. The file is replaced as a whole, so that a crash leaves the old one or the new one.
   * @throws {SimulationError} when the file cannot be written.
   */
  add(devices: readonly Identity[]): void {
    if (devices.length === 0) return
    const content = read(this.path)
    const keys = { ...content[this.#server] }
    for (const { name, id, apiKey } of devices) keys[name] = { id, apiKey }
    const temporary = `${this.path}.${process.pid}`
    try {
      mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 })
      writeFileSync(temporary, JSON.stringify({ ...content, [this.#server]: keys }), { mode: 0o600 })
      // The mode above holds only for a file that is new.
      chmodSync(temporary, 0o600)
      renameSync(temporary, this.path)
    } catch (error) {
      throw new SimulationError(
        `The key file ${this.path} could not be written: ${(error as Error).message}.`,
      )
    }
  }
}
