/**
 * How devices get their keys: from the key file, by one import of all of them with the admin token, or by registration one
 * by one.
 */
import {
  describe,
  GaveUp,
  type HttpClient,
  isRefused,
  nothingAnswers,
  SimulationError,
} from './http-client.ts'
import type { KeyFile } from './key-file.ts'
import type { Identity } from './uplink.ts'

export interface NewDevice {
  readonly name: string
  readonly type: string
  readonly description: string
  readonly location: string
}

export interface EnrolmentOptions {
  /** Base URL of the server, without a slash at its end. */
  readonly url: string
  readonly client: HttpClient
  /** Undefined: keys are not kept. */
  readonly keyFile?: KeyFile | undefined
  readonly enrollmentKey?: string | undefined
  readonly adminToken?: string | undefined
  /** True: no more devices are enrolled. */
  over(): boolean
  /** Called for each device that has its key. */
  onEnrolled?(how: 'stored' | 'imported' | 'registered'): void
}

/** Most requests or connections under way at the same time. */
const maxWidth = 16
/** A small fleet has fewer: an emulated function needs a thread for each, and a second to start it. */
const devicesPerRequest = 40
/** A deployed server takes no more rows at once. */
const rowsPerImport = 1000
const maxLost = 2
const firmware = '1.0.0'

/** Works on several items at a time, from 2 of a small fleet to 16 of a large one, and keeps their order. */
export async function inParallel<T, R>(
  items: readonly T[],
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const width = Math.min(maxWidth, Math.max(2, Math.floor(items.length / devicesPerRequest)))
  const results: R[] = []
  let next = 0
  const worker = async () => {
    for (let index = next++; index < items.length; index = next++) {
      results[index] = await work(items[index] as T, index)
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker))
  return results
}

interface ImportedKey {
  readonly name: string
  readonly id: number
  readonly apiKey: string
}

const importedKeys = (body: unknown): ImportedKey[] => {
  const { keys } = (body ?? {}) as { keys?: unknown }
  if (!Array.isArray(keys)) return []
  return keys.flatMap(({ name, id, device_id: deviceId, api_key: apiKey }) => {
    const number = id ?? deviceId
    return typeof name === 'string' && typeof number === 'number' && typeof apiKey === 'string'
      ? [{ name, id: number, apiKey }]
      : []
  })
}

export class Enrolment {
  readonly #options: EnrolmentOptions
  /** False since the server said that it has no import. */
  #canImport: boolean

  constructor(options: EnrolmentOptions) {
    this.#options = options
    this.#canImport = options.adminToken !== undefined
  }

  /**
   * The identities of the devices, in their order; fewer when it is over before all have one.
   * @throws {SimulationError} when nothing answers at the address or the server refuses a device.
   */
  async enrol(devices: readonly NewDevice[]): Promise<Identity[]> {
    const found = await this.#stillValid(devices)
    const missing = devices.filter(({ name }) => !found.has(name))
    for (const identity of await this.#import(missing)) found.set(identity.name, identity)
    const alone = missing.filter(({ name }) => !found.has(name))
    // What is registered stays stored even when a later device fails.
    const registered: Identity[] = []
    try {
      await inParallel(alone, async (device) => {
        if (this.#options.over()) return
        const identity = await this.#register(device)
        registered.push(identity)
        found.set(identity.name, identity)
        this.#options.onEnrolled?.('registered')
      })
    } finally {
      this.#options.keyFile?.add(registered)
    }
    return devices.flatMap(({ name }) => found.get(name) ?? [])
  }

  /** Stored keys that the server still accepts. */
  async #stillValid(devices: readonly NewDevice[]): Promise<Map<string, Identity>> {
    const stored = this.#options.keyFile?.load() ?? new Map<string, Identity>()
    const candidates = devices.flatMap(({ name }) => stored.get(name) ?? [])
    const [first, ...others] = candidates
    // A server that lost its data refuses all keys, and it slows down clients that try many wrong ones.
    if (first === undefined || !(await this.#isValid(first))) return new Map()
    const valid = await inParallel(others, (identity) => this.#isValid(identity))
    return new Map([first, ...others.filter((_, at) => valid[at])].map((one) => [one.name, one]))
  }

  async #isValid({ id, apiKey }: Identity): Promise<boolean> {
    const answer = await this.#request('/api/v1/devices/status', { headers: { 'X-API-Key': apiKey } })
    const { device } = (answer.body ?? {}) as { device?: { id?: unknown } }
    const valid = answer.status === 200 && device?.id === id
    if (valid) this.#options.onEnrolled?.('stored')
    return valid
  }

  /** Imports what can be imported; devices that exist already are left to the registration. */
  async #import(devices: readonly NewDevice[]): Promise<Identity[]> {
    const identities: Identity[] = []
    for (let from = 0; from < devices.length && this.#canImport; from += rowsPerImport) {
      const rows = devices
        .slice(from, from + rowsPerImport)
        .map((device) => JSON.stringify({ ...this.#fieldsOf(device) }))
      const answer = await this.#request('/api/v1/admin/devices/import', {
        method: 'POST',
        headers: { ...this.#admin(), 'Content-Type': 'application/x-ndjson' },
        body: `${rows.join('\n')}\n`,
      })
      if (answer.status === 404 || answer.status === 405) this.#canImport = false
      else if (answer.status >= 400)
        throw new SimulationError(`The devices could not be imported: ${describe(answer)}`)
      const imported = importedKeys(answer.body)
      this.#options.keyFile?.add(imported)
      identities.push(...imported)
      for (const _ of imported) this.#options.onEnrolled?.('imported')
    }
    return identities
  }

  async #register(device: NewDevice): Promise<Identity> {
    const { enrollmentKey, adminToken } = this.#options
    const answer = await this.#request('/api/v1/devices/register', {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        ...(enrollmentKey === undefined ? {} : { 'X-Enrollment-Key': enrollmentKey }),
      },
      body: JSON.stringify(this.#fieldsOf(device)),
    })
    const { device: made } = (answer.body ?? {}) as { device?: { id?: unknown; api_key?: unknown } }
    if (answer.status === 201 && typeof made?.id === 'number' && typeof made.api_key === 'string')
      return { id: made.id, name: device.name, apiKey: made.api_key }
    if (answer.status === 409 && adminToken !== undefined) return this.#newKey(device.name)
    throw new SimulationError(`${device.name} could not be registered: ${this.#advice(answer)}`)
  }

  #advice(answer: { status: number; body: unknown }): string {
    const why = describe(answer)
    if (answer.status === 401) return `${why} Give the key with --enrollment-key.`
    if (answer.status === 409)
      return `${why} Its key is not in ${this.#options.keyFile?.path ?? 'a key file'}: choose another --name, or set ADMIN_TOKEN so that it gets a new key.`
    if (answer.status === 429) return `${why} Set ADMIN_TOKEN: with it all devices are imported at once.`
    return why
  }

  /** A new key for a device that exists, whose key is lost. */
  async #newKey(name: string): Promise<Identity> {
    const fail = (why: string): never => {
      throw new SimulationError(`${name} exists, and it could get no new key: ${why}`)
    }
    const query = new URLSearchParams({ q: name, limit: '100' })
    const list = await this.#request(`/api/v1/admin/devices?${query}`, { headers: this.#admin() })
    const { devices } = (list.body ?? {}) as { devices?: { id: number; name: string }[] }
    const id = devices?.find((device) => device.name === name)?.id
    if (id === undefined) return fail(list.status === 200 ? 'it is not in the list.' : describe(list))
    const answer = await this.#request(`/api/v1/admin/devices/${id}/rotate-key`, {
      method: 'POST',
      headers: { ...this.#admin(), 'Content-Type': 'application/json' },
      body: '{}',
    })
    const { api_key: apiKey } = (answer.body ?? {}) as { api_key?: unknown }
    return typeof apiKey === 'string' ? { id, name, apiKey } : fail(describe(answer))
  }

  #fieldsOf = ({ name, type, description, location }: NewDevice) => ({
    name,
    device_type: type,
    description,
    location,
    firmware_version: firmware,
  })

  #admin = () => ({ Authorization: `Bearer ${this.#options.adminToken}` })

  async #request(path: string, request: Parameters<HttpClient['request']>[1]) {
    const { url, client, over } = this.#options
    try {
      return await client.request(`${url}${path}`, request, { over, maxLost })
    } catch (error) {
      if (!(error instanceof GaveUp)) throw error
      if (isRefused(error.cause)) throw nothingAnswers(url, '--url')
      throw new SimulationError(`The server at ${url} did not answer: ${error.message}.`)
    }
  }
}
