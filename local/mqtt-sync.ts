/** `npm run mqtt:sync`: makes the accounts at a Mosquitto what the registry says, and tells which devices have none yet. */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { eq } from 'drizzle-orm'
import { ConfigError, loadConfig, loadEnvFile } from '../lib/config.ts'
import { createAccounts } from '../lib/devices/accounts.ts'
import { createLog } from '../lib/log.ts'
import {
  bindCommands,
  disableCommands,
  markOf,
  removeCommands,
  rightsCommands,
  roleOf,
} from '../lib/mqtt/accounts.ts'
import { openRegistry, type RegistryDb } from '../lib/registry/db.ts'
import { devices, mqttAccounts } from '../lib/registry/schema.ts'
import { connectMosquitto, type Mosquitto } from './mosquitto.ts'

const help = `Compares the devices of the registry with the accounts of the broker of MQTT_URL, and repairs the broker.

  npm run mqtt:sync                 removes accounts of devices that are gone, repairs rights, switches off and on
  npm run mqtt:sync -- --dry-run    only says what it would do

Keys are not kept in clear: a device without an account gets one at its next call over HTTP, or by a rotation of its key.
Accounts whose names are not numbers are left alone.
`

export interface Synced {
  /** Accounts of devices that are gone. */
  readonly removed: number[]
  /** Accounts whose key the layer does not know: they are off until it is shown again. */
  readonly unknown: number[]
  /** Accounts whose rights or client id were not their own. */
  readonly repaired: number[]
  /** Accounts that were switched on or off. */
  readonly switched: number
  /** Devices that have no password at the broker. */
  readonly without: { readonly id: number; readonly name: string }[]
}

interface Client {
  readonly username: string
  readonly clientid?: string
  readonly textdescription?: string
  readonly disabled?: boolean
  readonly roles?: readonly { readonly rolename: string }[]
}

const pageSize = 500

const clientsOf = async (mosquitto: Mosquitto): Promise<Map<number, Client>> => {
  const found = new Map<number, Client>()
  for (let offset = 0; ; offset += pageSize) {
    const page = { command: 'listClients', verbose: true, count: pageSize, offset }
    const [data] = (await mosquitto.control([page])) as [{ clients: Client[] } | undefined]
    const clients = data?.clients ?? []
    for (const client of clients)
      if (/^[1-9]\d{0,14}$/.test(client.username)) found.set(Number(client.username), client)
    if (clients.length < pageSize) return found
  }
}

/** @param onProgress told now and then how many of all accounts were looked at. */
export async function syncAccounts(options: {
  db: RegistryDb
  mosquitto: Mosquitto
  dryRun: boolean
  onProgress?: (done: number, all: number) => void
}): Promise<Synced> {
  const { db, mosquitto, dryRun, onProgress } = options
  const act = async (commands: readonly object[]) => {
    if (!dryRun) await mosquitto.control(commands)
  }
  const clients = await clientsOf(mosquitto)
  const all = await db.select({ id: devices.id, name: devices.name }).from(devices)
  const known = new Map(all.map((device) => [device.id, device]))
  const rows = new Map((await db.select().from(mqttAccounts)).map((row) => [row.deviceId, row]))
  const [removed, unknown, repaired]: [number[], number[], number[]] = [[], [], []]
  let done = 0
  for (const [id, { clientid, textdescription, disabled = false, roles = [] }] of clients) {
    done += 1
    if (done % 100 === 0) onProgress?.(done, clients.size)
    if (!known.has(id)) {
      removed.push(id)
      await act(removeCommands(id))
      continue
    }
    const row = rows.get(id)
    // Another key than the layer knows, as after a restore: the row goes, so that the device's next call pushes its own.
    // An account that an earlier version of the layer made says nothing, and is left alone.
    const isOther = row !== undefined && !!textdescription && textdescription !== markOf(row.keyHash)
    if (row === undefined || isOther) {
      if (!disabled) {
        unknown.push(id)
        await act(disableCommands(id))
      }
      rows.delete(id)
      if (isOther && !dryRun) await db.delete(mqttAccounts).where(eq(mqttAccounts.deviceId, id))
    } else if (row.enabled === disabled && !dryRun) {
      // What the layer believes is made what is; settling makes that what should be.
      await db.update(mqttAccounts).set({ enabled: !disabled }).where(eq(mqttAccounts.deviceId, id))
    }
    const own = roleOf(id)
    await act(rightsCommands(id))
    if (clientid !== String(id) || roles.length !== 1 || roles[0]?.rolename !== own) {
      repaired.push(id)
      await act(bindCommands(id))
    }
  }
  for (const id of rows.keys())
    if (!clients.has(id) && !dryRun) await db.delete(mqttAccounts).where(eq(mqttAccounts.deviceId, id))
  const accounts = createAccounts({
    db,
    say: async (commands) => void (await mosquitto.control(commands)),
    log: createLog('silent'),
  })
  const switched = dryRun ? 0 : await accounts.settle()
  const without = all.filter(({ id }) => !(rows.has(id) && clients.has(id)))
  return { removed, unknown, repaired, switched, without }
}

const main = async () => {
  const { values } = parseArgs({
    options: { 'dry-run': { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) {
    process.stdout.write(help)
    return
  }
  loadEnvFile('.env')
  const { mqtt, database } = loadConfig()
  if (typeof mqtt !== 'object') throw new Error('MQTT_URL names no broker: there is nothing to compare with.')
  const mosquitto = connectMosquitto(mqtt)
  const connected = await Promise.race([
    mosquitto.ready.then(() => true),
    new Promise<boolean>((resolve) => setTimeout(resolve, 10_000, false)),
  ])
  if (!connected)
    throw new Error(
      'The broker of MQTT_URL does not let the layer in: look at its address, MQTT_USERNAME, MQTT_PASSWORD.',
    )
  const registry = await openRegistry(database)
  const dryRun = values['dry-run']
  const { removed, unknown, repaired, switched, without } = await syncAccounts({
    db: registry.db,
    mosquitto,
    dryRun,
    onProgress: (done, all) => process.stderr.write(`${done} of ${all} accounts\n`),
  })
  const would = dryRun ? 'would be ' : ''
  process.stdout.write(
    `${removed.length} accounts of devices that are gone ${would}removed, ${repaired.length} given their own rights again, ` +
      `${unknown.length} with an unknown key ${would}switched off, ${switched} switched on or off.\n`,
  )
  if (without.length > 0) {
    process.stdout.write(
      `\n${without.length} devices have no password at the broker until their next call over HTTP:\n`,
    )
    for (const { id, name } of without.slice(0, 1000))
      process.stdout.write(`  ${String(id).padStart(8)}  ${name}\n`)
    if (without.length > 1000) process.stdout.write(`  and ${without.length - 1000} more\n`)
  }
  registry.close()
  await mosquitto.close()
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  main().then(
    () => process.exit(0),
    (error: unknown) => {
      const text = error instanceof ConfigError ? error.problems.join('\n') : (error as Error).message
      process.stderr.write(`${text}\n`)
      process.exit(1)
    },
  )
