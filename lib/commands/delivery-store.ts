/**
 * Deliveries in the registry. A process claims the commands of a device before it publishes them, and records what came of
 * it afterwards: others leave the device alone meanwhile, and what a process that ended had claimed is due again.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { BrokerKind } from '../broker/address.ts'
import type { RegistryDb } from '../registry/db.ts'
import type { commands } from '../registry/schema.ts'
import { type Command, maxUnfinished } from './command.ts'
import { toCommand } from './command-store.ts'

/**
 * Why commands of a device are delivered, which decides about those that were sent before:
 * - `created`: none of them.
 * - `subscribed`: those with attempts left, or without a receipt, that this session has not got.
 * - `online`, `heartbeat` of a device at a broker that tells no subscriptions: all of them, or those that may have reached nobody.
 * - `due`: those whose time has come.
 */
export type Occasion =
  | { readonly kind: 'created' | 'online' | 'heartbeat' | 'due' }
  | { readonly kind: 'subscribed'; readonly sessionId: string }

/** A device with waiting commands. @see Occasion */
export interface Target {
  readonly deviceId: number
  readonly occasion: Occasion
  /** Only commands behind this `id`. */
  readonly after: number
}

/** What came of one publish. */
export interface DeliveryResult {
  readonly command: Command
  /** Somebody was subscribed. */
  readonly reached: boolean
  /** Empty where the broker does not tell. */
  readonly sessions: readonly string[]
  /** A client confirms that it has the message, or must be asked again. */
  readonly isConfirmed: boolean
}

/** A process that has claimed commands publishes and records them within this time, ms. */
export const claimMs = 15_000
/** An answer to an earlier delivery comes right behind the SUBSCRIBE of a device: its commands wait for that, ms. */
export const answerFirstMs = 1000
/** Deliveries beyond those that were asked for, when no receipt shows that the earlier ones arrived. */
const doubtfulAttempts = 5
/** Pause before an attempt that was asked for, ms: it doubles with each, up to an hour. */
const firstRetryMs = 30_000
const longestRetryMs = 3_600_000
/** Commands that one claim takes, so that their payloads fit into memory. */
const claimedAtOnce = 2 * maxUnfinished
/** A device that asks over HTTP gets a command again when it has not answered within this time, ms. */
const askAgainMs = 30_000
/** Age at which commands that have ended are deleted, ms. */
const finishedCommandsMs = 30 * 86_400_000
/** Commands of one answer over HTTP, so that it stays below the 6 MB of a Lambda function. */
const takenAtOnce = 20
const rowsPerSweep = 1000

type Row = typeof commands.$inferSelect

const targetsJson = (targets: readonly Target[]) =>
  JSON.stringify(
    targets.map(({ deviceId, occasion, after }) => [
      deviceId,
      occasion.kind,
      occasion.kind === 'subscribed' ? ` ${occasion.sessionId} ` : '',
      after,
    ]),
  )

const stored = (value: object): Row => {
  const row = value as Record<string, unknown>
  return Object.fromEntries(
    Object.entries(row).map(([name, field]) => [
      name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
      field,
    ]),
  ) as unknown as Row
}

export class DeliveryStore {
  readonly #db: RegistryDb
  readonly #now: () => number
  readonly #kind: BrokerKind

  /** @param options `kind`: the broker decides what is known of subscriptions and receipts. */
  constructor({ db, now, kind }: { db: RegistryDb; now: () => number; kind: BrokerKind }) {
    this.#db = db
    this.#now = now
    this.#kind = kind
  }

  /** Those of the devices that have commands to deliver; `doubtful`: one of these was sent before. */
  async waiting(targets: readonly Target[]): Promise<{ deviceId: number; doubtful: boolean }[]> {
    const rows = await this.#db.all<{ device_id: number; doubtful: number }>(sql`
      select commands.device_id, max(commands.status = 'sent') as doubtful
      from json_each(${targetsJson(targets)}) as target join commands on ${this.#isWaiting()}
      group by commands.device_id`)
    return rows.map((row) => ({ deviceId: row.device_id, doubtful: row.doubtful === 1 }))
  }

  /** Leaves the commands of these devices to the sweep of a moment later, all of them because they keep their order. */
  async postpone(targets: readonly Target[]): Promise<void> {
    await this.#db.run(sql`update commands set retry_at = ${this.#now() + answerFirstMs},
        receipt = iif(target.value ->> 1 = 'online', 'awaited', receipt)
      from json_each(${targetsJson(targets)}) as target where ${this.#isWaiting()}`)
  }

  /** Claims the oldest waiting commands, of devices that no other process delivers to. @returns them in order. */
  async claim(targets: readonly Target[]): Promise<Command[]> {
    const now = this.#now()
    const rows = await this.#db.all<object>(sql`
      update commands set busy_until = ${now + claimMs}, retry_at = ${now + claimMs},
        receipt = ${this.#kind === 'embedded' ? 'awaited' : sql`receipt`}
      where id in (
        select commands.id from json_each(${targetsJson(targets)}) as target join commands on ${this.#isWaiting()}
        where not exists (select 1 from commands as other where other.device_id = commands.device_id
          and other.finished_at is null and other.busy_until > ${now})
        order by commands.id limit ${claimedAtOnce})
      returning *`)
    return rows.map((row) => toCommand(stored(row), now)).sort((a, b) => a.id - b.id)
  }

  /** Records deliveries and ends their claims. */
  async record(results: readonly DeliveryResult[]): Promise<void> {
    if (results.length === 0) return
    const now = this.#now()
    const given = results.map(({ command, reached, sessions, isConfirmed }) => [
      command.id,
      reached ? 1 : 0,
      sessions.length === 0 ? null : ` ${sessions.join(' ')} `,
      isConfirmed ? 1 : 0,
    ])
    const reached = sql`given.value ->> 1 = 1`
    await this.#db.run(sql`
      update commands set busy_until = null,
        status = iif(${reached} and status = 'queued', 'sent', status),
        attempts = attempts + (given.value ->> 1),
        sent_at = iif(${reached}, coalesce(sent_at, ${now}), sent_at),
        last_sent_at = iif(${reached}, ${now}, last_sent_at),
        sessions = iif(${reached}, ${this.#kind === 'aws-iot' ? subscribedSessions : sql`given.value ->> 2`}, sessions),
        receipt = iif(${reached}, iif(given.value ->> 3 = 1, coalesce(receipt, 'awaited'), null), receipt),
        retry_at = iif(${reached} and attempts + 1 < max_attempts,
          ${now} + min(${firstRetryMs} << attempts, ${longestRetryMs}), null)
      from json_each(${JSON.stringify(given)}) as given
      where commands.id = given.value ->> 0 and finished_at is null`)
  }

  /** Ends the claims of commands that were not published; the sweep tries again. @param pauseMs until then. */
  async release(claimed: readonly Command[], pauseMs: number): Promise<void> {
    const ids = JSON.stringify(claimed.map(({ id }) => id))
    await this.#db.run(sql`update commands set busy_until = null, retry_at = ${this.#now() + pauseMs}
      where id in (select value from json_each(${ids})) and finished_at is null`)
  }

  /** Records that clients have the last delivery of these commands. @param receipts device and command id of each. */
  async received(receipts: readonly (readonly [deviceId: number, commandId: string])[]): Promise<void> {
    await this.#db.run(sql`update commands set receipt = 'received'
      from json_each(${JSON.stringify(receipts)}) as given
      where commands.command_id = given.value ->> 1 and commands.device_id = given.value ->> 0
        and receipt = 'awaited' and finished_at is null`)
  }

  /** The commands that a device asks for, in order; they count as sent. */
  async take(deviceId: number): Promise<Command[]> {
    const now = this.#now()
    const rows = await this.#db.all<object>(sql`
      update commands set status = 'sent', attempts = attempts + 1, sent_at = coalesce(sent_at, ${now}),
        last_sent_at = ${now}, sessions = null, receipt = null, busy_until = null, retry_at = null
      where id in (select id from commands where ${this.#isAskedFor(sql`device_id = ${deviceId}`)}
        order by id limit ${takenAtOnce}) returning *`)
    return rows.map((row) => toCommand(stored(row), now)).sort((a, b) => a.id - b.id)
  }

  /** Those of the devices that {@link take} would give a command. */
  async withCommands(deviceIds: readonly number[]): Promise<number[]> {
    const ids = JSON.stringify(deviceIds)
    const rows = await this.#db.all<{ device_id: number }>(sql`select distinct device_id from commands
      where ${this.#isAskedFor(sql`device_id in (select value from json_each(${ids}))`)}`)
    return rows.map((row) => row.device_id)
  }

  /** Devices with a delivery whose time has come. */
  async due(): Promise<number[]> {
    const rows = await this.#db.all<{ device_id: number }>(sql`select distinct device_id from commands
      where retry_at <= ${this.#now()} and finished_at is null limit ${rowsPerSweep}`)
    return rows.map((row) => row.device_id)
  }

  /** Takes what could not be delivered off the list of what is due: it waits for the device. */
  async notDue(deviceIds: readonly number[]): Promise<void> {
    const now = this.#now()
    await this.#db.run(sql`update commands set retry_at = null
      where device_id in (select value from json_each(${JSON.stringify(deviceIds)})) and finished_at is null
        and retry_at <= ${now} and coalesce(busy_until, 0) <= ${now}`)
  }

  /** Ends the claims of processes before this one: only for the one process that uses the registry. */
  async endClaims(): Promise<void> {
    await this.#db.run(sql`update commands set busy_until = null where busy_until is not null`)
  }

  /** Writes that commands have expired. @returns whether there may be more. */
  async expire(): Promise<boolean> {
    const { rowsAffected } = await this.#db.run(sql`
      update commands set status = 'expired', finished_at = expires_at, busy_until = null, retry_at = null
      where id in (select id from commands where finished_at is null and expires_at <= ${this.#now()}
        limit ${rowsPerSweep})`)
    return rowsAffected === rowsPerSweep
  }

  /** Deletes some commands, and the fleet commands, that ended 30 days ago. @returns whether there may be more. */
  async prune(): Promise<boolean> {
    const before = this.#now() - finishedCommandsMs
    const [{ rowsAffected }] = await this.#db.batch([
      this.#db.run(sql`delete from commands where id in (
        select id from commands where finished_at is not null and finished_at < ${before} limit ${rowsPerSweep})`),
      this.#db.run(sql`delete from fleet_commands where finished_at is not null and finished_at < ${before}`),
    ])
    return rowsAffected === rowsPerSweep
  }

  /** Joins `target` with the commands that are to be delivered to it. */
  #isWaiting(): SQL {
    const now = this.#now()
    // At a Mosquitto nobody tells whether a message arrived. There a command comes again until it is answered.
    const doubtful =
      this.#kind === 'mosquitto' ? sql`true` : sql`attempts < max_attempts + ${doubtfulAttempts}`
    const mayTryAgain = sql`(attempts < max_attempts or receipt = 'awaited' and ${doubtful})`
    return sql`commands.device_id = target.value ->> 0 and commands.id > target.value ->> 3
      and finished_at is null and expires_at > ${now} and (status = 'queued' or status = 'sent' and (
        target.value ->> 1 = 'subscribed' and ${mayTryAgain} and instr(coalesce(sessions, ''), target.value ->> 2) = 0
        or target.value ->> 1 = 'online'
        or target.value ->> 1 = 'heartbeat' and receipt = 'awaited'
        or target.value ->> 1 = 'due' and retry_at <= ${now} and ${mayTryAgain}))
      ${this.#kind === 'aws-iot' ? sql`and ${isSubscribed}` : sql``}`
  }

  #isAskedFor(ofDevices: SQL): SQL {
    const now = this.#now()
    return sql`${ofDevices} and finished_at is null and expires_at > ${now} and coalesce(busy_until, 0) <= ${now}
      and (status = 'queued' or status = 'sent' and last_sent_at <= ${now - askAgainMs})`
  }
}

/** The subscriptions of connected clients to the topic of a command, as far as AWS IoT Core has told. */
const subscriptions = sql`command_subscriptions as own where own.device_id = commands.device_id and own.channel = coalesce(commands.channel, '')
    and not exists (select 1 from sessions where sessions.device_id = own.device_id
      and sessions.client_id = own.client_id
      and (sessions.session_id = own.session_id and sessions.ended_at is not null
        or sessions.session_id <> own.session_id and sessions.since > own.since))`

const isSubscribed = sql`exists (select 1 from ${subscriptions})`
const subscribedSessions = sql`(select ' ' || group_concat(own.session_id, ' ') || ' ' from ${subscriptions})`
