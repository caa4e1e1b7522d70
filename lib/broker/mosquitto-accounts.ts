/**
 * Accounts of devices at a Mosquitto, kept equal to the registry. A key is known in clear only when it is made or used, so it is
 * pushed to the broker then. `reconcile` and `repairAccount` repeat changes that have failed.
 */
import { eq, sql } from 'drizzle-orm'
import { LRUCache } from 'lru-cache'
import type { Log } from '../log.ts'
import type { TopicTree } from '../mqtt/topics.ts'
import type { RegistryDb } from '../registry/db.ts'
import { mqttAccounts } from '../registry/schema.ts'
import {
  accountCommands,
  disableCommands,
  enableCommands,
  markOf,
  removeCommands,
} from './dynamic-security.ts'

/** A device with the key that becomes its password. */
export interface AccountKey {
  readonly id: number
  readonly apiKey: string
}

export interface Accounts {
  /** Makes this key the device's password. The broker has one password per device: earlier keys stop working there. */
  push(deviceId: number, key: string): Promise<void>
  /** Makes the keys of new devices their passwords: many accounts with one message to the broker. */
  pushAll(devices: readonly AccountKey[]): Promise<void>
  /**
   * Makes the accounts of one device, or of all, equal to the registry: disabled for an inactive device and for a key that is
   * revoked or expired, removed for a deleted device.
   * @returns number of accounts that were changed.
   * @throws {Error} the first failure, after all accounts were tried.
   */
  reconcile(deviceId?: number): Promise<number>
  /** Pushes this key, which the registry has just accepted, when the broker has no valid one. Never throws. */
  repairAccount(deviceId: number, key: string): Promise<void>
}

export interface AccountsOptions {
  readonly db: RegistryDb
  readonly topics: TopicTree
  /** Sends commands to the plugin of Mosquitto; rejects when it did not carry them out. */
  sendCommands(commands: readonly object[]): Promise<void>
  /** The hash that the registry stores of a key. */
  digestKey(key: string): string
  readonly log: Log
  /** Milliseconds since the epoch. */
  now?(): number
}

interface AccountRow {
  readonly device_id: number
  readonly enabled: number
  readonly wanted: 'on' | 'off' | 'gone'
}

/** Shortest time between two repairs of one device, ms. */
const repairIntervalMs = 30_000
/** About 4 KB of commands for each account; the data plane takes messages of 128 KiB. */
const accountsPerMessage = 20
/** Devices whose last repair is remembered. */
const rememberedRepairs = 100_000

export function createAccounts(options: AccountsOptions): Accounts {
  return new MosquittoAccounts(options)
}

class MosquittoAccounts implements Accounts {
  private readonly options: AccountsOptions
  private readonly now: () => number
  private readonly repairedAt = new LRUCache<number, number>({ max: rememberedRepairs })

  constructor(options: AccountsOptions) {
    this.options = options
    this.now = options.now ?? Date.now
  }

  async push(deviceId: number, key: string): Promise<void> {
    const { db, topics, digestKey, sendCommands } = this.options
    const keyHash = digestKey(key)
    // The row comes first, so that `reconcile` finds the account even when this process ends now. Its empty hash matches no
    // key, so the account would be disabled until the device uses its key again.
    const values = { deviceId, keyHash: '', enabled: true }
    await db
      .insert(mqttAccounts)
      .values(values)
      .onConflictDoUpdate({ target: mqttAccounts.deviceId, set: values })
    await sendCommands(accountCommands(topics, deviceId, key, markOf(keyHash)))
    // `enabled` is not set: when the account was disabled meanwhile, the next `reconcile` enables it.
    await db.update(mqttAccounts).set({ keyHash }).where(eq(mqttAccounts.deviceId, deviceId))
  }

  async pushAll(devices: readonly AccountKey[]): Promise<void> {
    const { db, topics, digestKey, sendCommands } = this.options
    for (let from = 0; from < devices.length; from += accountsPerMessage) {
      const part = devices.slice(from, from + accountsPerMessage)
      // The order of `push`, for the same reasons.
      await db
        .insert(mqttAccounts)
        .values(part.map(({ id }) => ({ deviceId: id, keyHash: '', enabled: true })))
        .onConflictDoUpdate({ target: mqttAccounts.deviceId, set: { keyHash: '', enabled: true } })
      await sendCommands(
        part.flatMap(({ id, apiKey }) => accountCommands(topics, id, apiKey, markOf(digestKey(apiKey)))),
      )
      const hashes = JSON.stringify(part.map(({ id, apiKey }) => ({ id, hash: digestKey(apiKey) })))
      await db.run(sql`update mqtt_accounts set key_hash = r.value ->> 'hash'
        from json_each(${hashes}) r where device_id = r.value ->> 'id'`)
    }
  }

  async reconcile(deviceId?: number): Promise<number> {
    let changed = 0
    const failures: unknown[] = []
    for (const row of await this.rows(deviceId)) {
      const isChanged = await this.reconcileRow(row).catch((error: unknown) => {
        failures.push(error)
        return false
      })
      if (isChanged) changed += 1
    }
    if (failures.length > 0) throw failures[0]
    return changed
  }

  async repairAccount(deviceId: number, key: string): Promise<void> {
    const at = this.now()
    if (at - (this.repairedAt.get(deviceId) ?? Number.NEGATIVE_INFINITY) < repairIntervalMs) return
    this.repairedAt.set(deviceId, at)
    try {
      const [row] = await this.rows(deviceId)
      if (row?.wanted === 'on') await this.reconcileRow(row)
      else await this.push(deviceId, key)
    } catch (error) {
      this.options.log.warn('the account at the broker could not be changed', { device_id: deviceId, error })
    }
  }

  private rows(deviceId: number | undefined): Promise<AccountRow[]> {
    return this.options.db.all<AccountRow>(sql`
      select a.device_id, a.enabled,
        case when d.id is null then 'gone'
             when d.status = 'inactive' or c.id is null or c.revoked_at is not null or c.expires_at <= ${this.now()}
               then 'off'
             else 'on' end as wanted
      from mqtt_accounts a
      left join devices d on d.id = a.device_id
      left join credentials c on c.key_hash = a.key_hash and c.device_id = a.device_id
      where ${deviceId ?? null} is null or a.device_id = ${deviceId ?? null}`)
  }

  private async reconcileRow({ device_id: id, enabled, wanted }: AccountRow): Promise<boolean> {
    const { db, sendCommands } = this.options
    if (wanted === 'gone') {
      await sendCommands(removeCommands(id))
      await db.delete(mqttAccounts).where(eq(mqttAccounts.deviceId, id))
      return true
    }
    const on = wanted === 'on'
    if (on === (enabled === 1)) return false
    await sendCommands(on ? enableCommands(id) : disableCommands(id))
    await db.update(mqttAccounts).set({ enabled: on }).where(eq(mqttAccounts.deviceId, id))
    return true
  }
}

/** The methods of the device service whose effects the broker must know. */
interface DeviceService {
  register(input: never): Promise<{ readonly device: { readonly id: number }; readonly apiKey: string }>
  importRows(
    rows: never,
    options: never,
  ): Promise<{ readonly keys: readonly AccountKey[]; readonly switched: readonly { readonly id: number }[] }>
  authenticate(key: string): Promise<{ readonly device: { readonly id: number } }>
  rotateKey(id: number, options: never): Promise<{ readonly apiKey: string }>
  revokeKeys(id: number, prefix?: string): Promise<number>
  update(
    id: number,
    change: never,
    by: never,
  ): Promise<{ readonly device: { readonly status: string }; readonly before: { readonly status: string } }>
  delete(id: number): Promise<unknown>
}

/** The same device service, which also changes the accounts at the broker. A change that fails is logged, and repeated later. */
export function withAccounts<Service extends DeviceService>(
  devices: Service,
  accounts: Accounts,
  log: Log,
): Service {
  const change = async (deviceId: number, changed: Promise<unknown>) => {
    await changed.catch((error: unknown) => {
      log.error('the account at the broker could not be changed', { device_id: deviceId, error })
    })
  }
  const overrides: DeviceService = {
    async register(input) {
      const registered = await devices.register(input)
      await change(registered.device.id, accounts.push(registered.device.id, registered.apiKey))
      return registered
    },
    async importRows(rows, options) {
      const imported = await devices.importRows(rows, options)
      await accounts.pushAll(imported.keys).catch((error: unknown) => {
        log.error('accounts of imported devices could not be made at the broker', { error })
      })
      for (const { id } of imported.switched) await change(id, accounts.reconcile(id))
      return imported
    },
    async authenticate(key) {
      const authenticated = await devices.authenticate(key)
      void accounts.repairAccount(authenticated.device.id, key)
      return authenticated
    },
    async rotateKey(id, options) {
      const rotated = await devices.rotateKey(id, options)
      await change(id, accounts.push(id, rotated.apiKey))
      return rotated
    },
    async revokeKeys(id, prefix) {
      const revoked = await devices.revokeKeys(id, prefix)
      await change(id, accounts.reconcile(id))
      return revoked
    },
    async update(id, fields, by) {
      const updated = await devices.update(id, fields, by)
      if (updated.device.status !== updated.before.status) await change(id, accounts.reconcile(id))
      return updated
    },
    async delete(id) {
      const device = await devices.delete(id)
      await change(id, accounts.reconcile(id))
      return device
    },
  }
  return { ...devices, ...overrides }
}
