/** The part of the composition root that opens the embedded database, and what needs nothing else: the alerts. */
import { AlertRules } from './alerts/alert-rules.ts'
import { Alerts } from './alerts/alerts.ts'
import { Fleet } from './alerts/fleet.ts'
import { DeadLetterCounts } from './alerts/letters.ts'
import { AlertSweep } from './alerts/sweep.ts'
import { embeddedDatabaseLocation } from './config.ts'
import type { Devices } from './devices/devices.ts'
import { closers, config, log, once, overrides } from './runtime-base.ts'
import { leases, registry } from './runtime-registry.ts'
import { EmbeddedDatabase } from './telemetry/embedded/database.ts'
import { Deletions } from './telemetry/embedded/deletions.ts'
import { Ledger } from './telemetry/embedded/ledger.ts'
import { Pruning } from './telemetry/embedded/pruning.ts'
import { TimedAlerts } from './telemetry/embedded/timed-alerts.ts'

export const retentionMs = () => config().retentionDays * 86_400_000

/** The embedded database: the whole telemetry, or with InfluxDB its ledger and its spool. */
export function database(): Promise<EmbeddedDatabase> {
  return once('database', async () => {
    const value = await EmbeddedDatabase.open({ at: embeddedDatabaseLocation(config()), log: log() })
    closers.push(() => value.close())
    return value
  })
}

/** Sets the marks of the database files; see `local/database-marks.ts`. Only where DATABASE_URL is a file. */
export async function setDatabaseMarks(mark: number): Promise<void> {
  await (await registry()).db.$client.execute(`PRAGMA user_version = ${Math.trunc(mark)}`)
  await (await database()).writer.change('mark', { mark })
}

export function ledger(): Promise<Ledger> {
  return once('ledger', async () => new Ledger(await database()))
}

/** Large deletions of the embedded store. */
export function deletions(): Promise<Deletions> {
  return once('deletions', async () => new Deletions(await database()))
}

/** Deletes old readings, and old keys of readings. */
export function telemetryPruning(): Promise<Pruning> {
  return once('telemetryPruning', async () => {
    const isStore = config().influx === undefined
    return new Pruning(await database(), { retentionMs: isStore ? retentionMs() : 0 })
  })
}

/** What judges readings by the alert rules. */
export function alertRules(): Promise<AlertRules> {
  return once('alertRules', async () => {
    const background = overrides.longRunning ?? false
    const value = new AlertRules({ database: await database(), log: log(), background })
    closers.push(async () => value.close())
    return value
  })
}

/** Alert rules, and the alerts that they open. */
export function alerts(): Promise<Alerts> {
  return once('alerts', async () => {
    const rulesChanged = async () => (await alertRules()).refresh()
    // Elsewhere no reading comes to a process that changes rules.
    return new Alerts({ database: await database(), ...(overrides.longRunning && { rulesChanged }) })
  })
}

/** @param patienceMs see `Fleet`. */
export async function openAlertSweep(
  devices: Pick<Devices, 'flush'>,
  patienceMs: number,
): Promise<AlertSweep> {
  const { db } = await registry()
  const alerts = new TimedAlerts(await database())
  const value = new AlertSweep({
    alerts,
    fleet: new Fleet({ db, offlineAfterS: config().offlineAfterS, patienceMs }),
    letters: new DeadLetterCounts(db, alerts),
    leases: await leases(),
    log: log(),
    flush: () => devices.flush(),
    count: overrides.count,
    ended: overrides.metrics?.alertSweep,
  })
  closers.push(() => value.close())
  if (overrides.longRunning) value.start()
  return value
}
