/** Devices and API keys in memory, so that a message of a known device needs no query. */
import { LRUCache } from 'lru-cache'
import type { Device } from './device.ts'

/** A valid API key, with its device. */
export interface KnownKey {
  readonly device: Device
  readonly credentialId: number
  /** Milliseconds since the epoch; null for a key without an end. */
  readonly expiresAt: number | null
  /** The last use that its row has, milliseconds since the epoch. */
  readonly lastUsedAt: number | null
}

interface Entry<Value> {
  readonly value: Value
  /** Milliseconds since the epoch. */
  readonly validUntil: number
}

/** Most devices in the cache; also the most keys. */
const maxEntries = 50_000

/** Devices whose last change is remembered. Far fewer change while a row is read. */
const rememberedChanges = 10_000

export interface DeviceCacheOptions {
  /**
   * Time that an entry is valid, ms; 0 turns the cache off. Changes by this process remove entries at once, so this is the
   * longest time that a change by another process goes unnoticed.
   */
  readonly cacheMs: number
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

/**
 * The cache of one process. A caller reads {@link DeviceCache.generation} before its query and hands it back with the result:
 * a row from before a change of its device is not cached after it.
 */
export class DeviceCache {
  /** Every change of a device raises it. */
  generation = 0
  /** By device, the generation that its last change made. */
  readonly #changes: LRUCache<number, number>
  /** Of changes up to this generation, some are no longer in `#changes`. */
  #forgottenUpTo = 0
  readonly #cacheMs: number
  readonly #now: () => number
  readonly #devices: LRUCache<number, Entry<Device>>
  /** By the SHA-256 of the key. */
  readonly #keys: LRUCache<string, Entry<KnownKey>>
  /** The hashes in `#keys` by device: each MQTT connection removes its device, so that must not search all keys. */
  readonly #keyHashes = new Map<number, Set<string>>()

  constructor({ cacheMs, now }: DeviceCacheOptions) {
    this.#cacheMs = cacheMs
    this.#now = now
    // LRUCache reserves memory for all its entries.
    const max = cacheMs === 0 ? 1 : maxEntries
    this.#devices = new LRUCache({ max })
    this.#changes = new LRUCache({
      max: Math.min(max, rememberedChanges),
      dispose: (generation, _deviceId, reason) => {
        if (reason === 'evict') this.#forgottenUpTo = generation
      },
    })
    this.#keys = new LRUCache({
      max,
      dispose: ({ value }, keyHash, reason) => {
        if (reason !== 'set') this.#removeHash(value.device.id, keyHash)
      },
    })
  }

  device(id: number): Device | undefined {
    return this.#valid(this.#devices.get(id))
  }

  key(keyHash: string): KnownKey | undefined {
    return this.#valid(this.#keys.get(keyHash))
  }

  addDevice(device: Device, generation: number): void {
    if (this.#mayAdd(device.id, generation)) this.#devices.set(device.id, this.#entry(device))
  }

  addKey(keyHash: string, known: KnownKey, generation: number): void {
    const { id } = known.device
    if (!this.#mayAdd(id, generation)) return
    this.#keys.set(keyHash, this.#entry(known))
    const hashes = this.#keyHashes.get(id) ?? new Set()
    this.#keyHashes.set(id, hashes.add(keyHash))
  }

  removeKey(keyHash: string): void {
    this.#keys.delete(keyHash)
  }

  /** Removes a device and its keys, because their rows have changed. */
  remove(deviceId: number): void {
    this.#noteChange(deviceId)
    this.#devices.delete(deviceId)
    for (const keyHash of this.#keyHashes.get(deviceId) ?? []) this.#keys.delete(keyHash)
  }

  /** Changes a device and its keys, because its row has these values now. An entry does not last longer for it. */
  change(deviceId: number, change: Partial<Device>): void {
    this.#noteChange(deviceId)
    const entry = this.#devices.peek(deviceId)
    if (entry !== undefined) this.#devices.set(deviceId, { ...entry, value: { ...entry.value, ...change } })
    for (const keyHash of this.#keyHashes.get(deviceId) ?? []) {
      const key = this.#keys.peek(keyHash)
      if (key === undefined) continue
      const device = { ...key.value.device, ...change }
      this.#keys.set(keyHash, { ...key, value: { ...key.value, device } })
    }
  }

  #removeHash(deviceId: number, keyHash: string): void {
    const hashes = this.#keyHashes.get(deviceId)
    hashes?.delete(keyHash)
    if (hashes?.size === 0) this.#keyHashes.delete(deviceId)
  }

  #noteChange(deviceId: number): void {
    this.generation += 1
    if (this.#cacheMs > 0) this.#changes.set(deviceId, this.generation)
  }

  #mayAdd(deviceId: number, generation: number): boolean {
    // `peek` leaves them in the order of their changes.
    const isUnchanged = generation >= (this.#changes.peek(deviceId) ?? this.#forgottenUpTo)
    return this.#cacheMs > 0 && isUnchanged
  }

  #entry<Value>(value: Value): Entry<Value> {
    return { value, validUntil: this.#now() + this.#cacheMs }
  }

  #valid<Value>(entry: Entry<Value> | undefined): Value | undefined {
    return entry !== undefined && entry.validUntil > this.#now() ? entry.value : undefined
  }
}
