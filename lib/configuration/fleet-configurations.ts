/**
 * Changes of the configuration of many devices: the devices are fixed when the change is made, then it is applied slice by slice,
 * and published at a bounded rate. Both go on after a restart where they were.
 */
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { RegistryDb } from '../registry/db.ts'
import type { Leases } from '../registry/leases.ts'
import { type Changes, entriesOf } from './configurations.ts'
import { type FleetConfiguration, FleetConfigurationReader, kept } from './fleet-configuration-reader.ts'
import { applyToSlice, type DeviceFilter, matches } from './fleet-statements.ts'
import type { ConfigurationPublisher } from './publisher.ts'

export interface FleetConfigurationsOptions {
  readonly db: RegistryDb
  readonly leases: Leases
  readonly publisher: ConfigurationPublisher
  readonly log: Log
  /** The process runs between requests: work goes on after an answer. Else a schedule continues it. */
  readonly longRunning: boolean
  /** Milliseconds since the epoch. */
  readonly now?: () => number
}

/** Devices of one transaction: 250 take about 10 ms on a file, during which requests wait. */
const devicesPerSlice = 250
/** Messages to the broker at the same time, and in each second. */
const publishesAtOnce = 10
const publishesPerSecond = 200
/** Changes that may wait. */
const maxUnfinished = 20
const lease = 'fleet-configurations'
const leaseMs = 30_000
/** Time that a request works for its change itself where no process runs between requests, ms. */
const requestBudgetMs = 2000

export class FleetConfigurations {
  readonly #options: FleetConfigurationsOptions
  readonly #reader: FleetConfigurationReader
  #running: Promise<void> | undefined
  /** Whether a run was asked for since the one under way has last looked for work. */
  #isAsked = false
  #closing = false

  constructor(options: FleetConfigurationsOptions) {
    this.#options = options
    this.#reader = new FleetConfigurationReader({ db: options.db, hasBroker: options.publisher.hasBroker })
  }

  /**
   * Fixes the devices and begins to apply the change.
   * @param shown the filter as the caller wrote it.
   * @throws {AppError} CONFLICT when 20 changes are unfinished.
   */
  async create(filter: DeviceFilter, shown: unknown, changes: Changes): Promise<FleetConfiguration> {
    const { db, longRunning, now = Date.now } = this.#options
    const at = now()
    const [{ unfinished } = { unfinished: 0 }] = await db.all<{ unfinished: number }>(
      sql`select count(*) as unfinished from fleet_configurations where applied_at is null`,
    )
    if (unfinished >= maxUnfinished)
      throw new AppError('CONFLICT', `${maxUnfinished} changes of the fleet are unfinished: wait for them.`)
    const newest = sql`(select max(id) from fleet_configurations)`
    const outdated = sql`(select id from fleet_configurations where applied_at is not null
      and id <= ${newest} - ${kept})`
    const [, , created] = await db.batch([
      db.run(sql`insert into fleet_configurations (filter, changes, targets, created_at)
        values (${JSON.stringify(shown)}, ${JSON.stringify(entriesOf(changes, at))}, 0, ${at})`),
      db.run(sql`insert into fleet_configuration_targets (fleet_configuration_id, device_id)
        select ${newest}, id from devices where ${matches(filter)}`),
      db.all<{ id: number }>(sql`update fleet_configurations set targets = (
          select count(*) from fleet_configuration_targets where fleet_configuration_id = fleet_configurations.id)
        where id = ${newest} returning id`),
      db.run(sql`delete from fleet_configuration_targets where fleet_configuration_id in ${outdated}`),
      db.run(sql`delete from fleet_configurations where id in ${outdated}`),
    ])
    const id = created[0]?.id ?? 0
    if (longRunning) void this.run()
    else await this.run(now() + requestBudgetMs)
    return this.get(id)
  }

  /** @throws {AppError} NOT_FOUND */
  get(id: number): Promise<FleetConfiguration> {
    return this.#reader.get(id)
  }

  /** The last 100, newest first. */
  list(): Promise<FleetConfiguration[]> {
    return this.#reader.list()
  }

  /**
   * Applies and publishes what is left, unless another process is at it. Never rejects: what fails is tried again by the next run.
   * @param until milliseconds since the epoch; the rest is for the next run.
   */
  run(until = Number.POSITIVE_INFINITY): Promise<void> {
    this.#isAsked = true
    this.#running ??= this.#work(until)
      .catch((error: unknown) =>
        this.#options.log.warn('a change of the fleet could not be carried out yet', { error }),
      )
      .finally(() => {
        this.#running = undefined
        if (this.#isAsked && this.#options.longRunning && !this.#closing) void this.run()
      })
    return this.#running
  }

  /** Resolves when the slice under way is done. */
  async close(): Promise<void> {
    this.#closing = true
    await this.#running
  }

  async #work(until: number): Promise<void> {
    const { leases, now = Date.now } = this.#options
    this.#isAsked = false
    const mayGoOn = async () => !this.#closing && now() < until && (await leases.take(lease, leaseMs))
    try {
      // A change that is made while an earlier one is published is applied at once.
      let more = true
      while (more && (await mayGoOn())) {
        this.#isAsked = false
        more = (await this.#applySlice()) || (await this.#publishSlice())
        await turn()
      }
    } finally {
      await leases.release(lease)
    }
  }

  /** @returns whether there may be more. */
  async #applySlice(): Promise<boolean> {
    const { db, now = Date.now } = this.#options
    const [oldest] = await db.all<{
      id: number
      changes: string
    }>(sql`select id, changes from fleet_configurations
      where applied_at is null order by id limit 1`)
    if (oldest === undefined) return false
    const { id, changes } = oldest
    const waiting = await db.all<{ id: number }>(sql`select device_id as id from fleet_configuration_targets
      where fleet_configuration_id = ${id} and version is null order by device_id limit ${devicesPerSlice}`)
    if (waiting.length === 0) {
      await db.run(sql`update fleet_configurations set applied_at = ${now()} where id = ${id}`)
      return true
    }
    const deviceIds = JSON.stringify(waiting.map((target) => target.id))
    const [first, ...rest] = applyToSlice({ id, deviceIds, changes, at: now() })
    await db.batch([db.run(first as ReturnType<typeof sql>), ...rest.map((statement) => db.run(statement))])
    return true
  }

  /** @returns whether there may be more. */
  async #publishSlice(): Promise<boolean> {
    const { publisher } = this.#options
    const began = performance.now()
    const waiting = await publisher.unpublished(publishesPerSecond)
    for (let from = 0; from < waiting.length; from += publishesAtOnce) {
      const part = waiting.slice(from, from + publishesAtOnce)
      // None accepted: the broker is away, and the next run tries it again.
      if (this.#closing || (await publisher.publishMany(part)) === 0) return false
    }
    if (waiting.length < publishesPerSecond) return false
    await sleep(Math.max(0, 1000 - (performance.now() - began)))
    return true
  }
}
