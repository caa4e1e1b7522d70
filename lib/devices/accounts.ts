/**
 * Devices' accounts at a Mosquitto, kept in step with the registry. A key is known in clear only when it is made or shown, so
 * the broker is told then; what could not be told is told later.
 */
import { eq, sql } from 'drizzle-orm'
import type { Log } from '../log.ts'
import { accountCommands, disableCommands, enableCommands, markOf, removeCommands } from '../mqtt/accounts.ts'
import type { RegistryDb } from '../registry/db.ts'
import { mqttAccounts } from '../registry/schema.ts'
import { digestKey } from './credentials.ts'
import type { Devices } from './devices.ts'

export interface Accounts {
  /** Makes this key the device's password. The broker keeps one: keys before it open no connection any more. */
  push(deviceId: number, key: string): Promise<void>
  /**
   * Makes the broker's side of one device, or of all, what the registry says: off for an inactive device and for a key that
   * is revoked or has ended, gone for a device that is gone. @returns accounts that were changed.
   * @throws {Error} the first failure, when all were tried.
   */
  settle(deviceId?: number): Promise<number>
  /** Pushes this key, which has just opened the registry, where the broker has none that is valid. Never throws. */
  heal(deviceId: number, key: string): Promise<void>
}

interface Row {
  readonly device_id: number
  readonly enabled: number
  readonly wanted: 'on' | 'off' | 'gone'
}

/** A device is looked up at most this often, ms. */
const healEveryMs = 30_000
/** Devices remembered for that. */
const maxRemembered = 100_000

/** @param say hands commands to the broker's plugin; rejects when they were not carried out. */
export function createAccounts(options: {
  db: RegistryDb
  say: (commands: readonly object[]) => Promise<void>
  log: Log
  now?: () => number
}): Accounts {
  const { db, say, log, now = Date.now } = options
  const lookedAt = new Map<number, number>()

  const rows = (deviceId: number | undefined) =>
    db.all<Row>(sql`
      select a.device_id, a.enabled,
        case when d.id is null then 'gone'
             when d.status = 'inactive' or c.id is null or c.revoked_at is not null or c.expires_at <= ${now()} then 'off'
             else 'on' end as wanted
      from mqtt_accounts a
      left join devices d on d.id = a.device_id
      left join credentials c on c.key_hash = a.key_hash and c.device_id = a.device_id
      where ${deviceId ?? null} is null or a.device_id = ${deviceId ?? null}`)

  const push: Accounts['push'] = async (deviceId, key) => {
    const keyHash = digestKey(key)
    // An account without a row would never be settled; one whose key is not known is switched off, and pushed when it is shown.
    const values = { deviceId, keyHash: '', enabled: true }
    await db
      .insert(mqttAccounts)
      .values(values)
      .onConflictDoUpdate({ target: mqttAccounts.deviceId, set: values })
    await say(accountCommands(deviceId, key, markOf(keyHash)))
    // Not `enabled`: what was switched off meanwhile is switched on by the next look at all.
    await db.update(mqttAccounts).set({ keyHash }).where(eq(mqttAccounts.deviceId, deviceId))
  }

  const settleOne = async ({ device_id: id, enabled, wanted }: Row): Promise<boolean> => {
    if (wanted === 'gone') {
      await say(removeCommands(id))
      await db.delete(mqttAccounts).where(eq(mqttAccounts.deviceId, id))
      return true
    }
    const on = wanted === 'on'
    if (on === (enabled === 1)) return false
    await say(on ? enableCommands(id) : disableCommands(id))
    await db.update(mqttAccounts).set({ enabled: on }).where(eq(mqttAccounts.deviceId, id))
    return true
  }

  return {
    push,

    async settle(deviceId) {
      let changed = 0
      const failures: unknown[] = []
      for (const row of await rows(deviceId)) {
        const settled = await settleOne(row).catch((error: unknown) => {
          failures.push(error)
          return false
        })
        if (settled) changed += 1
      }
      if (failures.length > 0) throw failures[0]
      return changed
    },

    async heal(deviceId, key) {
      const at = now()
      if (at - (lookedAt.get(deviceId) ?? Number.NEGATIVE_INFINITY) < healEveryMs) return
      if (lookedAt.size >= maxRemembered) lookedAt.clear()
      lookedAt.set(deviceId, at)
      try {
        const [row] = await rows(deviceId)
        if (row?.wanted === 'on') await settleOne(row)
        else await push(deviceId, key)
      } catch (error) {
        log.warn('the broker could not be told of a device', { device_id: deviceId, error })
      }
    },
  }
}

/** The devices, each change of which the broker is told of. What it could not be told is settled later. */
export function withAccounts(devices: Devices, accounts: Accounts, log: Log): Devices {
  const tell = async (deviceId: number, telling: Promise<unknown>) => {
    await telling.catch((error: unknown) => {
      log.error('the broker could not be told of a device', { device_id: deviceId, error })
    })
  }
  return {
    ...devices,
    async register(fields) {
      const registered = await devices.register(fields)
      await tell(registered.device.id, accounts.push(registered.device.id, registered.apiKey))
      return registered
    },
    async authenticate(key) {
      const authenticated = await devices.authenticate(key)
      void accounts.heal(authenticated.device.id, key)
      return authenticated
    },
    async rotateKey(id, options) {
      const rotated = await devices.rotateKey(id, options)
      await tell(id, accounts.push(id, rotated.apiKey))
      return rotated
    },
    async revokeKeys(id, prefix) {
      const revoked = await devices.revokeKeys(id, prefix)
      await tell(id, accounts.settle(id))
      return revoked
    },
    async update(id, change, by) {
      const updated = await devices.update(id, change, by)
      if (updated.device.status !== updated.before.status) await tell(id, accounts.settle(id))
      return updated
    },
    async delete(id) {
      const device = await devices.delete(id)
      await tell(id, accounts.settle(id))
      return device
    },
  }
}
