/**
 * Compares the accounts that a Mosquitto really has with the registry, and repairs them. An operator runs it after restoring one
 * of the two from a backup.
 */
import { eq } from 'drizzle-orm'
import type { TopicTree } from '../mqtt/topics.ts'
import type { RegistryDb } from '../registry/db.ts'
import { devices, mqttAccounts } from '../registry/schema.ts'
import {
  bindCommands,
  disableCommands,
  markOf,
  removeCommands,
  rightsCommands,
  roleOf,
} from './dynamic-security.ts'
import type { Accounts } from './mosquitto-accounts.ts'

export interface SyncResult {
  /** Accounts of deleted devices, which were removed. */
  readonly removed: number[]
  /** Accounts with a key that the registry does not know. They are disabled until the device uses its own key. */
  readonly unknown: number[]
  /** Accounts that had other rights or another client id. */
  readonly repaired: number[]
  /** Number of accounts that were enabled or disabled. */
  readonly switched: number
  /** Devices that have no password at the broker. */
  readonly withoutPassword: { readonly id: number; readonly name: string }[]
}

export interface SyncOptions {
  readonly db: RegistryDb
  readonly topics: TopicTree
  readonly accounts: Pick<Accounts, 'reconcile'>
  /** Sends commands to the plugin of Mosquitto, and returns the data of each answer. */
  sendCommands(commands: readonly object[]): Promise<readonly unknown[]>
  /** Changes nothing, and returns what would be changed. */
  readonly dryRun: boolean
  /** Called now and then with the number of accounts that are checked. */
  onProgress?(done: number, all: number): void
}

/** An account, as the plugin lists it. */
interface BrokerAccount {
  readonly username: string
  readonly clientid?: string
  readonly textdescription?: string
  readonly disabled?: boolean
  readonly roles?: readonly { readonly rolename: string }[]
}

type AccountRow = typeof mqttAccounts.$inferSelect

const pageSize = 500
const progressEvery = 100

/** Accounts of devices: their user names are numbers. Other accounts belong to people and stay as they are. */
const listAccounts = async ({ sendCommands }: SyncOptions): Promise<Map<number, BrokerAccount>> => {
  const found = new Map<number, BrokerAccount>()
  for (let offset = 0; ; offset += pageSize) {
    const page = { command: 'listClients', verbose: true, count: pageSize, offset }
    const [data] = (await sendCommands([page])) as [{ clients: BrokerAccount[] } | undefined]
    const clients = data?.clients ?? []
    for (const client of clients)
      if (/^[1-9]\d{0,14}$/.test(client.username)) found.set(Number(client.username), client)
    if (clients.length < pageSize) return found
  }
}

class Synchronisation {
  readonly removed: number[] = []
  readonly unknown: number[] = []
  readonly repaired: number[] = []
  private readonly options: SyncOptions
  private readonly knownIds: ReadonlySet<number>
  private readonly rows: Map<number, AccountRow>

  constructor(options: SyncOptions, knownIds: ReadonlySet<number>, rows: Map<number, AccountRow>) {
    this.options = options
    this.knownIds = knownIds
    this.rows = rows
  }

  hasRow(id: number): boolean {
    return this.rows.has(id)
  }

  async check(id: number, account: BrokerAccount): Promise<void> {
    if (!this.knownIds.has(id)) {
      this.removed.push(id)
      await this.send(removeCommands(id))
      return
    }
    await this.checkKey(id, account)
    await this.send(rightsCommands(this.options.topics, id))
    const { clientid, roles = [] } = account
    if (clientid === String(id) && roles.length === 1 && roles[0]?.rolename === roleOf(id)) return
    this.repaired.push(id)
    await this.send(bindCommands(id))
  }

  /** Deletes the rows of accounts that the broker does not have. */
  async removeRowsWithout(accounts: ReadonlyMap<number, BrokerAccount>): Promise<void> {
    for (const id of this.rows.keys()) if (!accounts.has(id)) await this.deleteRow(id)
  }

  private async checkKey(id: number, { textdescription, disabled = false }: BrokerAccount): Promise<void> {
    const row = this.rows.get(id)
    // An account without a mark was made by a version that set none, and keeps its key.
    const hasOtherKey = row !== undefined && !!textdescription && textdescription !== markOf(row.keyHash)
    if (row === undefined || hasOtherKey) {
      if (!disabled) {
        this.unknown.push(id)
        await this.send(disableCommands(id))
      }
      this.rows.delete(id)
      // Without a row the device's next HTTP request pushes its own key.
      if (hasOtherKey) await this.deleteRow(id)
    } else if (row.enabled === disabled && !this.options.dryRun) {
      // The row says what the account is, so that `reconcile` can see what to change.
      await this.options.db
        .update(mqttAccounts)
        .set({ enabled: !disabled })
        .where(eq(mqttAccounts.deviceId, id))
    }
  }

  private async deleteRow(id: number): Promise<void> {
    if (!this.options.dryRun) await this.options.db.delete(mqttAccounts).where(eq(mqttAccounts.deviceId, id))
  }

  private async send(commands: readonly object[]): Promise<void> {
    if (!this.options.dryRun) await this.options.sendCommands(commands)
  }
}

/** @throws {Error} when the broker does not carry out a command. */
export async function syncAccounts(options: SyncOptions): Promise<SyncResult> {
  const { accounts, db, dryRun, onProgress } = options
  const atBroker = await listAccounts(options)
  const all = await db.select({ id: devices.id, name: devices.name }).from(devices)
  const rows = new Map((await db.select().from(mqttAccounts)).map((row) => [row.deviceId, row]))
  const sync = new Synchronisation(options, new Set(all.map(({ id }) => id)), rows)
  let done = 0
  for (const [id, account] of atBroker) {
    done += 1
    if (done % progressEvery === 0) onProgress?.(done, atBroker.size)
    await sync.check(id, account)
  }
  await sync.removeRowsWithout(atBroker)
  const switched = dryRun ? 0 : await accounts.reconcile()
  const withoutPassword = all.filter(({ id }) => !(sync.hasRow(id) && atBroker.has(id)))
  const { removed, repaired, unknown } = sync
  return { removed, unknown, repaired, switched, withoutPassword }
}
