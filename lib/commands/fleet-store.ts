/** Fleet commands in the registry: the commands themselves, their targets in the order of release, and their progress. */
import { randomUUID } from 'node:crypto'
import { and, asc, desc, eq, gt, inArray, isNull, lt, type SQL, sql } from 'drizzle-orm'
import { AppError } from '../errors.ts'
import type { RegistryDb } from '../registry/db.ts'
import { foldText } from '../registry/folded-texts.ts'
import { commandStates, commands, fleetCommands, fleetTargets } from '../registry/schema.ts'
import { parseSelector, selectorCondition } from '../registry/selector.ts'
import { type Command, type CommandState, defaultTtlS } from './command.ts'
import { inState, refuseTooLarge, toCommand } from './command-store.ts'
import {
  defaultMinResults,
  type FleetCommand,
  type FleetCommandStatus,
  type FleetFilter,
  type NewFleetCommand,
  type Progress,
} from './fleet-command.ts'
import type { Results } from './fleet-step.ts'

export type FleetRow = typeof fleetCommands.$inferSelect

/** Final states of a fleet command; after them only what is open has to be closed. */
const endings = ['finished', 'cancelled', 'aborted'] as const satisfies FleetCommandStatus[]
type Ending = (typeof endings)[number]
const openStates = ['canary', 'running'] as const satisfies FleetCommandStatus[]

const unknownFleetCommand = () => new AppError('NOT_FOUND', 'There is no such fleet command.')

const noProgress = (): Record<CommandState | 'skipped', number> => ({
  ...(Object.fromEntries(commandStates.map((state) => [state, 0])) as Record<CommandState, number>),
  skipped: 0,
})

/** Inactive devices may not connect: they are no targets. */
const fits = ({ deviceType, location, selector, ids }: FleetFilter): SQL => {
  const conditions = [
    sql`status <> 'inactive'`,
    ...(deviceType === undefined ? [] : [sql`device_type = ${deviceType}`]),
    ...(location === undefined
      ? []
      : [sql`coalesce(location_folded, lower(location)) = ${foldText(location)}`]),
    ...(selector === undefined ? [] : [selectorCondition(parseSelector(selector))]),
    ...(ids === undefined ? [] : [sql`id in (select value from json_each(${JSON.stringify(ids)}))`]),
  ]
  return sql.join(conditions, sql` and `)
}

/** Where targets are that had no turn yet. */
const statusOfWaiting = ({ status, expiresAt }: FleetRow, now: number): CommandState => {
  if (status === 'cancelled' || status === 'aborted') return 'cancelled'
  return expiresAt <= now ? 'expired' : 'queued'
}

export class FleetStore {
  readonly #db: RegistryDb
  readonly #now: () => number

  /** @param options `now`: milliseconds since the epoch. */
  constructor({ db, now }: { db: RegistryDb; now: () => number }) {
    this.#db = db
    this.#now = now
  }

  /**
   * Stores a fleet command with its targets, in one transaction.
   * @throws {AppError} VALIDATION_FAILED when it fits no device, or is too large for one message.
   */
  async create(given: NewFleetCommand): Promise<FleetRow> {
    const fleetCommandId = randomUUID()
    const issuedAt = this.#now()
    const { filter, canary, ratePerS = null, params = null, ttlS = defaultTtlS } = given
    const expiresAt = issuedAt + ttlS * 1000
    refuseTooLarge({ commandId: fleetCommandId, command: given.command, params, issuedAt, expiresAt })
    // A second run of the transaction has the same id, and its targets are those of the one that was committed.
    const fleetId = sql`(select id from fleet_commands where fleet_command_id = ${fleetCommandId})`
    const targets = sql`(select count(*) from fleet_targets where fleet_id = ${fleetId})`
    const canaries = canary === undefined ? sql`0` : canarySql(canary, targets)
    const [, , [row]] = await this.#db.batch([
      this.#db.insert(fleetCommands).values({
        fleetCommandId,
        command: given.command,
        params: params === null ? null : JSON.stringify(params),
        channel: given.channel ?? null,
        maxAttempts: given.maxAttempts ?? 1,
        filter: JSON.stringify(filter),
        ratePerS,
        canaryWaitS: given.canaryWaitS ?? null,
        failedShare: given.failedShare ?? null,
        minResults: given.minResults ?? defaultMinResults,
        status: canary === undefined ? 'running' : 'canary',
        // The first device has its turn at once.
        paidUntil: issuedAt - Math.ceil(ratePerS === null ? 0 : 1000 / ratePerS),
        issuedAt,
        expiresAt,
      }),
      // By chance, so that the canaries are like the others: ids stand for the age of devices.
      this.#db.run(sql`insert into fleet_targets (fleet_id, position, device_id)
        select ${fleetId}, row_number() over (order by random()), id from devices where ${fits(filter)}`),
      this.#db
        .update(fleetCommands)
        .set({ targets, canaries })
        .where(eq(fleetCommands.fleetCommandId, fleetCommandId))
        .returning(),
    ])
    if (row === undefined) throw new AppError('INTERNAL', 'The fleet command was not written.')
    if (row.targets > 0) return row
    await this.#db.delete(fleetCommands).where(eq(fleetCommands.id, row.id))
    throw new AppError('VALIDATION_FAILED', 'The filter fits no device that may connect.', {
      details: [{ path: 'filter', message: 'fits no device' }],
    })
  }

  /** @throws {AppError} NOT_FOUND */
  async get(fleetCommandId: string): Promise<FleetRow> {
    const [row] = await this.#db
      .select()
      .from(fleetCommands)
      .where(eq(fleetCommands.fleetCommandId, fleetCommandId))
    if (row === undefined) throw unknownFleetCommand()
    return row
  }

  /** Newest first. */
  list({ limit, before }: { limit: number; before?: number | undefined }): Promise<FleetRow[]> {
    return this.#db
      .select()
      .from(fleetCommands)
      .where(before === undefined ? undefined : lt(fleetCommands.id, before))
      .orderBy(desc(fleetCommands.id))
      .limit(limit)
  }

  /** Those that are not closed, oldest first. */
  open(): Promise<FleetRow[]> {
    return this.#db
      .select()
      .from(fleetCommands)
      .where(isNull(fleetCommands.finishedAt))
      .orderBy(asc(fleetCommands.id))
  }

  /** The rows with their progress, by one statement for all that are not closed. */
  async withProgress(rows: readonly FleetRow[]): Promise<FleetCommand[]> {
    const now = this.#now()
    const open = rows.filter(({ progress }) => progress === null)
    const counts = await this.#countByState(open.map(({ fleetCommandId }) => fleetCommandId))
    return rows.map((row) => {
      const progress =
        row.progress === null
          ? progressOf(row, counts.get(row.fleetCommandId) ?? {}, now)
          : (JSON.parse(row.progress) as Progress)
      return toFleetCommand(row, progress)
    })
  }

  /** The commands of a fleet command, in the order of the devices. */
  async commandsOf(
    fleetCommandId: string,
    {
      status,
      limit,
      after,
    }: { status?: CommandState | undefined; limit: number; after?: number | undefined },
  ): Promise<Command[]> {
    const now = this.#now()
    const rows = await this.#db
      .select()
      .from(commands)
      .where(
        and(
          eq(commands.fleetCommandId, fleetCommandId),
          after === undefined ? undefined : gt(commands.deviceId, after),
          status && inState(status, now),
        ),
      )
      .orderBy(asc(commands.deviceId))
      .limit(limit)
    return rows.map((row) => toCommand(row, now))
  }

  /** What became of the commands that exist. */
  async results({ fleetCommandId }: FleetRow): Promise<Results> {
    const now = this.#now()
    const [found] = await this.#db.all<Results>(sql`
      select count(*) filter (where finished_at is null and expires_at > ${now}) as unfinished,
        count(*) filter (where status = 'succeeded') as succeeded,
        count(*) filter (where status = 'failed'
          or (sent_at is not null and finished_at is null and expires_at <= ${now})
          or (sent_at is not null and status = 'expired')) as failed
      from commands where fleet_command_id = ${fleetCommandId}`)
    return found ?? { unfinished: 0, succeeded: 0, failed: 0 }
  }

  /** The next targets, and those of them that have the command already: the process before was killed before it noted it. */
  async slice(
    row: FleetRow,
    count: number,
  ): Promise<{ readonly all: number[]; readonly served: Set<number> }> {
    const targets = await this.#db
      .select({ id: fleetTargets.deviceId })
      .from(fleetTargets)
      .where(and(eq(fleetTargets.fleetId, row.id), gt(fleetTargets.position, row.released)))
      .orderBy(asc(fleetTargets.position))
      .limit(count)
    const all = targets.map(({ id }) => id)
    const served = await this.#db
      .select({ id: commands.deviceId })
      .from(commands)
      .where(
        and(
          eq(commands.fleetCommandId, row.fleetCommandId),
          sql`${commands.deviceId} in (select value from json_each(${JSON.stringify(all)}))`,
        ),
      )
    return { all, served: new Set(served.map(({ id }) => id)) }
  }

  /** Notes that targets had their turn. @returns false when the command was ended meanwhile. */
  async noteReleased(row: FleetRow, count: number, paidUntil: number): Promise<boolean> {
    const released = row.released + count
    const isLastCanary = row.status === 'canary' && released >= row.canaries && row.canaryWaitS !== null
    const { rowsAffected } = await this.#db
      .update(fleetCommands)
      .set({
        released,
        paidUntil,
        ...(isLastCanary ? { canaryUntil: this.#now() + (row.canaryWaitS ?? 0) * 1000 } : {}),
      })
      .where(
        and(
          eq(fleetCommands.id, row.id),
          inArray(fleetCommands.status, [...openStates]),
          eq(fleetCommands.released, row.released),
        ),
      )
    return rowsAffected > 0
  }

  async goOn({ id }: FleetRow): Promise<void> {
    await this.#db
      .update(fleetCommands)
      .set({ status: 'running' })
      .where(and(eq(fleetCommands.id, id), eq(fleetCommands.status, 'canary')))
  }

  /** No further device gets the command. @returns false when it had ended before. */
  async end(fleetCommandId: string, status: Ending, reason: string | null = null): Promise<boolean> {
    const { rowsAffected } = await this.#db
      .update(fleetCommands)
      .set({ status, reason })
      .where(
        and(eq(fleetCommands.fleetCommandId, fleetCommandId), inArray(fleetCommands.status, [...openStates])),
      )
    return rowsAffected > 0
  }

  /** Keeps the progress for good, and forgets the targets. */
  async close(row: FleetRow): Promise<void> {
    const [closed] = await this.withProgress([row])
    await this.#db.batch([
      this.#db
        .update(fleetCommands)
        .set({ finishedAt: this.#now(), progress: JSON.stringify(closed?.progress) })
        .where(eq(fleetCommands.id, row.id)),
      this.#db.delete(fleetTargets).where(eq(fleetTargets.fleetId, row.id)),
    ])
  }

  async #countByState(ids: readonly string[]): Promise<Map<string, Partial<Record<CommandState, number>>>> {
    const counts = new Map<string, Partial<Record<CommandState, number>>>()
    if (ids.length === 0) return counts
    const now = this.#now()
    const rows = await this.#db.all<{ id: string; state: CommandState; count: number }>(sql`
      select fleet_command_id as id,
        case when finished_at is null and expires_at <= ${now} then 'expired' else status end as state,
        count(*) as count
      from commands where fleet_command_id in (select value from json_each(${JSON.stringify(ids)}))
      group by 1, 2`)
    for (const { id, state, count } of rows) counts.set(id, { ...counts.get(id), [state]: count })
    return counts
  }
}

const canarySql = (canary: number, targets: SQL): SQL =>
  canary < 1
    ? sql`max(1, cast(round(${targets} * ${canary}) as integer))`
    : sql`min(${targets}, ${Math.trunc(canary)})`

const progressOf = (row: FleetRow, counts: Partial<Record<CommandState, number>>, now: number): Progress => {
  const progress = { ...noProgress(), ...counts }
  const served = Object.values(progress).reduce((sum, count) => sum + count, 0)
  const waiting = row.targets - row.released
  // The slice that is under way has commands already that are not noted as released.
  progress.skipped = Math.max(0, row.released - served)
  progress[statusOfWaiting(row, now)] += Math.max(0, Math.min(waiting, row.targets - served))
  return progress
}

const toFleetCommand = (row: FleetRow, progress: Progress): FleetCommand => ({
  ...row,
  params: row.params === null ? null : (JSON.parse(row.params) as unknown),
  filter: JSON.parse(row.filter) as FleetFilter,
  progress,
})
