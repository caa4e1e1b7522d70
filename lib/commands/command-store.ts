/** Commands in the registry: new ones, lists, cancellations, and answers. Each change is one conditional statement. */
import { randomUUID } from 'node:crypto'
import { and, desc, eq, gt, isNull, lt, lte, or, type SQL, sql } from 'drizzle-orm'
import { AppError } from '../errors.ts'
import type { RegistryDb } from '../registry/db.ts'
import { commands, devices } from '../registry/schema.ts'
import {
  type Command,
  type CommandState,
  commandMessage,
  defaultTtlS,
  maxPayloadBytes,
  maxUnfinished,
  type NewCommand,
} from './command.ts'
import type { CommandQuery, CreatedCommands } from './commands.ts'

/** A new command that its process has not delivered after this time, ms, because it ended, is left to the sweep. */
const undeliveredMs = 15_000

type Row = typeof commands.$inferSelect

const jsonOrNull = (text: string | null): unknown => (text === null ? null : (JSON.parse(text) as unknown))

/** A stored command as it is at this time: one whose time is over is expired before the sweep has written it. */
export const toCommand = (row: Row, now: number): Command => {
  const isExpired = row.finishedAt === null && row.expiresAt <= now
  return {
    id: row.id,
    commandId: row.commandId,
    deviceId: row.deviceId,
    fleetCommandId: row.fleetCommandId,
    command: row.command,
    params: jsonOrNull(row.params),
    channel: row.channel,
    status: isExpired ? 'expired' : row.status,
    issuedAt: row.issuedAt,
    expiresAt: row.expiresAt,
    maxAttempts: row.maxAttempts,
    attempts: row.attempts,
    sentAt: row.sentAt,
    acknowledgedAt: row.acknowledgedAt,
    finishedAt: isExpired ? row.expiresAt : row.finishedAt,
    result: jsonOrNull(row.result),
  }
}

const unknownCommand = () => new AppError('NOT_FOUND', 'There is no such command of this device.')

/** The commands that {@link toCommand} shows in this state. */
export const inState = (state: CommandState, now: number): SQL | undefined => {
  if (state === 'expired')
    return or(eq(commands.status, 'expired'), and(isNull(commands.finishedAt), lte(commands.expiresAt, now)))
  return and(
    eq(commands.status, state),
    or(sql`${commands.finishedAt} is not null`, gt(commands.expiresAt, now)),
  )
}

export class CommandStore {
  readonly #db: RegistryDb
  readonly #now: () => number

  /** @param options `now`: milliseconds since the epoch. */
  constructor({ db, now }: { db: RegistryDb; now: () => number }) {
    this.#db = db
    this.#now = now
  }

  /**
   * Stores one command for each device that has room for it.
   * @throws {AppError} VALIDATION_FAILED when it is too large for one message.
   */
  async insert(
    deviceIds: readonly number[],
    { command, params = null, channel = null, ttlS = defaultTtlS, maxAttempts = 1 }: NewCommand,
    fleetCommandId: string | null = null,
  ): Promise<CreatedCommands> {
    const at = this.#now()
    const expiresAt = at + ttlS * 1000
    const ids = [...new Set(deviceIds)].map((deviceId) => [deviceId, randomUUID()] as const)
    const [sample] = ids
    if (sample === undefined) return { created: [], refused: [] }
    refuseTooLarge({ commandId: sample[1], command, params, issuedAt: at, expiresAt })
    const rows = await this.#db.all<{ device_id: number; command_id: string }>(sql`
      insert into commands (command_id, device_id, fleet_command_id, command, params, channel, issued_at, expires_at,
        max_attempts, retry_at)
      select given.value ->> 1, devices.id, ${fleetCommandId}, ${command},
        ${params === null ? null : JSON.stringify(params)}, ${channel}, ${at}, ${expiresAt}, ${maxAttempts},
        ${at + undeliveredMs}
      from json_each(${JSON.stringify(ids)}) as given join devices on devices.id = given.value ->> 0
      where (select count(*) from commands as own where own.device_id = devices.id and own.finished_at is null
        and own.expires_at > ${at}) < ${maxUnfinished}
      order by given.key
      on conflict (fleet_command_id, device_id) where fleet_command_id is not null do nothing
      returning device_id, command_id`)
    const created = rows.map((row) => ({ deviceId: row.device_id, commandId: row.command_id }))
    const taken = new Set(created.map(({ deviceId }) => deviceId))
    return { created, refused: ids.map(([id]) => id).filter((id) => !taken.has(id)) }
  }

  async hasDevice(id: number): Promise<boolean> {
    const rows = await this.#db.select({ id: devices.id }).from(devices).where(eq(devices.id, id))
    return rows.length > 0
  }

  /** @throws {AppError} NOT_FOUND, also for a command of another device. */
  async get(deviceId: number, commandId: string): Promise<Command> {
    const command = await this.find(deviceId, commandId)
    if (command === undefined) throw unknownCommand()
    return command
  }

  async find(deviceId: number, commandId: string): Promise<Command | undefined> {
    const [row] = await this.#db
      .select()
      .from(commands)
      .where(and(eq(commands.commandId, commandId), eq(commands.deviceId, deviceId)))
    return row && toCommand(row, this.#now())
  }

  /** Newest first. */
  async list(deviceId: number, { status, limit, before }: CommandQuery): Promise<Command[]> {
    const now = this.#now()
    const rows = await this.#db
      .select()
      .from(commands)
      .where(
        and(
          eq(commands.deviceId, deviceId),
          before === undefined ? undefined : lt(commands.id, before),
          status && inState(status, now),
        ),
      )
      .orderBy(desc(commands.id))
      .limit(limit)
    return rows.map((row) => toCommand(row, now))
  }

  /** @throws {AppError} NOT_FOUND, CONFLICT when it has another final state. */
  async cancel(deviceId: number, commandId: string): Promise<Command> {
    await this.#cancelWhere(sql`command_id = ${commandId} and device_id = ${deviceId}`)
    const command = await this.get(deviceId, commandId)
    if (command.status !== 'cancelled')
      throw new AppError('CONFLICT', `The command has ended already: it is ${command.status}.`)
    return command
  }

  /** @returns how many were not finished. */
  async cancelFleet(fleetCommandId: string): Promise<number> {
    return this.#cancelWhere(sql`fleet_command_id = ${fleetCommandId}`)
  }

  async #cancelWhere(condition: SQL): Promise<number> {
    const at = this.#now()
    const { rowsAffected } = await this.#db.run(sql`
      update commands set status = 'cancelled', finished_at = ${at}, busy_until = null, retry_at = null
      where ${condition} and finished_at is null and expires_at > ${at}`)
    return rowsAffected
  }
}

/** @throws {AppError} VALIDATION_FAILED */
export const refuseTooLarge = (command: Parameters<typeof commandMessage>[0]): void => {
  // A device of a fleet command may get it at another time, whose text is longer: with milliseconds.
  const [issuedAt, expiresAt] = [1, 1]
  const bytes = Buffer.byteLength(JSON.stringify(commandMessage({ ...command, issuedAt, expiresAt })))
  if (bytes <= maxPayloadBytes) return
  throw new AppError('VALIDATION_FAILED', 'The command is too large for one message to the device.', {
    details: [
      {
        path: 'params',
        message: `makes a message of ${bytes} bytes: at most ${maxPayloadBytes} reach a device`,
      },
    ],
  })
}
