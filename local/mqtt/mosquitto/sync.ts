/** `npm run mqtt:sync`: makes the accounts at a Mosquitto equal to the registry, and lists the devices that have none. */
import pTimeout from 'p-timeout'
import { createAccounts } from '../../../lib/broker/mosquitto-accounts.ts'
import { type SyncResult, syncAccounts } from '../../../lib/broker/mosquitto-sync.ts'
import { type Config, loadConfig, loadEnvFile } from '../../../lib/config.ts'
import { digestKey } from '../../../lib/devices/credentials.ts'
import { createLog } from '../../../lib/log.ts'
import { TopicTree } from '../../../lib/mqtt/topics.ts'
import { openRegistry, type RegistryDb } from '../../../lib/registry/db.ts'
import { parseOptions, runCommand } from '../../../scripts/command.ts'
import { connectMosquitto, type Mosquitto } from './client.ts'

const help = `Compares the devices of the registry with the accounts of the broker of MQTT_URL, and repairs the broker.

  npm run mqtt:sync                 removes accounts of deleted devices, repairs rights, enables and disables accounts
  npm run mqtt:sync -- --dry-run    only prints what it would do

The registry stores no keys in clear. A device without an account gets one at its next HTTP request, or when its key is rotated.
Accounts whose names are not numbers stay as they are.
`

const connectMs = 10_000
/** Devices without a password that are listed by name. */
const listedDevices = 1000

const report = (
  { removed, repaired, switched, unknown, withoutPassword }: SyncResult,
  dryRun: boolean,
): string => {
  const would = dryRun ? 'would be ' : ''
  const lines = [
    `${removed.length} accounts of deleted devices ${would}removed, rights of ${repaired.length} ${would}repaired, ` +
      `${unknown.length} with an unknown key ${would}disabled` +
      (dryRun
        ? '; accounts to enable or disable are not counted in a dry run.'
        : `, ${switched} enabled or disabled.`),
  ]
  if (withoutPassword.length > 0) {
    lines.push(
      '',
      `${withoutPassword.length} devices have no password at the broker until their next HTTP request:`,
    )
    for (const { id, name } of withoutPassword.slice(0, listedDevices))
      lines.push(`  ${String(id).padStart(8)}  ${name}`)
    if (withoutPassword.length > listedDevices)
      lines.push(`  and ${withoutPassword.length - listedDevices} more`)
  }
  return `${lines.join('\n')}\n`
}

const compare = async (
  mosquitto: Mosquitto,
  db: RegistryDb,
  topics: TopicTree,
  dryRun: boolean,
): Promise<SyncResult> => {
  await pTimeout(mosquitto.ready, {
    milliseconds: connectMs,
    message:
      'The broker of MQTT_URL refuses the connection: check its address, MQTT_USERNAME and MQTT_PASSWORD.',
  })
  const accounts = createAccounts({
    db,
    topics,
    sendCommands: async (commands) => void (await mosquitto.sendCommands(commands)),
    digestKey,
    log: createLog('silent'),
  })
  return syncAccounts({
    db,
    topics,
    accounts,
    sendCommands: (commands) => mosquitto.sendCommands(commands),
    dryRun,
    onProgress: (done, all) => process.stderr.write(`${done} of ${all} accounts\n`),
  })
}

/**
 * Makes the accounts at the broker of MQTT_URL equal to the registry.
 * @returns what was changed, as text for the operator.
 * @throws {Error} one sentence when there is no such broker, or it refuses the connection.
 */
export async function synchronizeAccounts(
  { mqtt, database, topicRoot }: Config,
  dryRun: boolean,
): Promise<string> {
  if (typeof mqtt !== 'object') throw new Error('MQTT_URL names no broker: there is nothing to compare with.')
  const registry = await openRegistry(database)
  const mosquitto = connectMosquitto(mqtt)
  try {
    return report(await compare(mosquitto, registry.db, new TopicTree(topicRoot), dryRun), dryRun)
  } finally {
    registry.close()
    await mosquitto.close()
  }
}

const synchronize = async () => {
  const { values } = parseOptions({
    options: { 'dry-run': { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  loadEnvFile('.env')
  process.stdout.write(await synchronizeAccounts(loadConfig(), values['dry-run']))
  return 0
}

export const main = () => runCommand(synchronize)
