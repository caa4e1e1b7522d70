/** The dashboard's overview: the fleet, the traffic and the state of every part in numbers, read once for all who ask. */
import { alertView } from '../alerts/alert.ts'
import type { Alerts } from '../alerts/alerts.ts'
import { severities } from '../alerts/rule.ts'
import type { BrokerKind } from '../broker/address.ts'
import type { Messenger } from '../broker/messenger.ts'
import { deviceView } from '../devices/device.ts'
import type { Devices } from '../devices/devices.ts'
import type { FleetEvent } from '../devices/events.ts'
import { formatMillis } from '../iso-time.ts'
import { accountView, differenceOf } from '../telemetry/account.ts'
import type { DeadLetters } from '../telemetry/dead-letters.ts'
import { spoolView } from '../telemetry/spool.ts'
import type { Freshness } from '../telemetry/store.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { MinuteCounts } from './minute-counts.ts'
import { Refreshed } from './refreshed.ts'

export interface OverviewOptions {
  readonly devices: Pick<Devices, 'summary' | 'newestEvents' | 'findMany'>
  readonly telemetry: Pick<
    Telemetry,
    'backend' | 'check' | 'countSince' | 'countByMinute' | 'account' | 'spool'
  >
  readonly deadLetters: Pick<DeadLetters, 'count'>
  readonly alerts: Pick<Alerts, 'totals' | 'newestOpen'>
  /** Undefined where there is no broker. */
  readonly messenger: Pick<Messenger, 'check'> | undefined
  readonly brokerKind: BrokerKind
  /** Clients that are connected to the broker; undefined where this process cannot tell. */
  readonly connections: () => number | undefined
  /** Undefined where this process does not see every message. */
  readonly minutes: MinuteCounts | undefined
  /** See {@link accountView}. */
  readonly exact: boolean
  /** See {@link Refreshed}. */
  readonly background: boolean
}

/** Store and broker are asked at most this often, ms. */
const checkEveryMs = 15_000
/** Devices, messages, accounts and dead letters are counted at most this often, ms; of large fleets less often: see {@link Refreshed}. */
const countEveryMs = 2000
/** The same between requests that do not share a process which runs on: a database may be paid for by the rows that are read. */
const countSeldomEveryMs = 15_000
/** The other numbers cost little, ms. Below the interval of live updates, so that each of them has new ones. */
const readEveryMs = 1000
const shownEvents = 20
const shownAlerts = 5
const msPerMinute = 60_000

const nothingSpooled = { depth: 0, bytes: 0, oldestAt: undefined }

const succeeds = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  )
const orNull = <T>(work: Promise<T>): Promise<T | null> => work.catch(() => null)

/** An event as operators see it in a list of several devices. */
export const fleetEventView = ({ id, deviceId, deviceName, kind, at, detail, repeated }: FleetEvent) => ({
  id,
  device_id: deviceId,
  device_name: deviceName,
  kind,
  at: formatMillis(at),
  ...(repeated && { count: repeated.count, last_at: formatMillis(repeated.lastAt) }),
  detail,
})

export class Overview {
  readonly #options: OverviewOptions
  readonly #fleet: Refreshed<Awaited<ReturnType<OverviewOptions['devices']['summary']>> & { now: number }>
  readonly #messages: Refreshed<Awaited<ReturnType<Overview['countMessages']>>>
  readonly #state: Refreshed<{ readonly store: boolean; readonly broker: boolean }>
  readonly #accounts: Refreshed<Awaited<ReturnType<Overview['readAccounts']>>>
  readonly #freshness: Freshness
  #hasEarlierMinutes = false
  #last: { readonly at: number; readonly answer: ReturnType<Overview['compose']> } | undefined

  constructor(options: OverviewOptions) {
    this.#options = options
    const { devices, telemetry, messenger, background } = options
    // Where somebody asks every second, writes must not cost more for that.
    this.#freshness = { mayLag: background }
    const refreshed = <T>(everyMs: number, count: () => Promise<T>) =>
      new Refreshed({ count, everyMs, background })
    const countMs = background ? countEveryMs : countSeldomEveryMs
    this.#fleet = refreshed(countMs, async () => ({ now: Date.now(), ...(await devices.summary()) }))
    this.#messages = refreshed(countMs, () => this.countMessages())
    this.#state = refreshed(checkEveryMs, async () => {
      const [store, broker] = await Promise.all([
        succeeds(telemetry.check()),
        messenger === undefined ? false : succeeds(messenger.check()),
      ])
      return { store, broker }
    })
    this.#accounts = refreshed(countMs, () => this.readAccounts())
  }

  /** At most 1 s old; numbers that are counted and states that are checked as old as their intervals more. */
  read(): ReturnType<Overview['compose']> {
    const at = Date.now()
    if (this.#last === undefined || Math.abs(at - this.#last.at) >= readEveryMs)
      this.#last = { at, answer: this.compose() }
    return this.#last.answer
  }

  /** A new overview, when alerts have opened or ended since the last one. */
  async readAfterAlert(): Promise<Awaited<ReturnType<Overview['compose']>> | undefined> {
    const shown = (await this.#last?.answer)?.alerts
    const { open, opened } = await this.#options.alerts.totals(this.#freshness)
    const isSame =
      shown?.opened_total === opened &&
      severities.every((severity) => shown.open[severity] === open[severity])
    if (isSame) return undefined
    this.#last = undefined
    return this.read()
  }

  /** Begins to count what takes long, so that the first who asks need not wait for it. */
  warm(): void {
    // A failure shows when somebody asks.
    for (const counted of [this.#fleet, this.#messages]) counted.readSoon().catch(() => undefined)
  }

  private async compose() {
    const { telemetry, devices, brokerKind, connections, minutes } = this.#options
    this.#addEarlierMinutes()
    const [fleet, messages, state, accounts, spool, events, alerts] = await Promise.all([
      this.#fleet.read(),
      this.#messages.readSoon(),
      this.#state.read(),
      this.#accounts.read(),
      orNull(telemetry.spool().then((one) => spoolView(one ?? nothingSpooled))),
      devices.newestEvents(shownEvents),
      orNull(this.readAlerts()),
    ])
    const { total, byStatus, byType, online, lastSeen } = fleet
    return {
      status: 'success' as const,
      timestamp: formatMillis(fleet.now),
      devices: { total, online, offline: total - online, by_status: byStatus, by_type: byType },
      messages: state.store ? (messages ?? null) : null,
      messages_per_minute:
        minutes?.list().map(({ at, ...counts }) => ({ time: formatMillis(at), ...counts })) ?? null,
      accounting: accounts.accounting,
      storage: {
        backend: telemetry.backend,
        status: state.store ? ('healthy' as const) : ('unavailable' as const),
      },
      broker: { kind: brokerKind, connected: state.broker, connections: connections() ?? null },
      spool,
      dead_letters: { count: accounts.letters },
      alerts,
      events: events.map(fleetEventView),
      last_seen: lastSeen.map(deviceView),
    }
  }

  /** Readings by their time; null while the store is unavailable. */
  private async countMessages() {
    const now = Date.now()
    const since = (minutes: number) =>
      this.#options.telemetry.countSince(BigInt(now - minutes * msPerMinute) * 1_000_000n, this.#freshness)
    try {
      // One after the other: other queries of the store must not wait behind three of these.
      return { last_minute: await since(1), last_hour: await since(60), last_day: await since(1440) }
    } catch {
      return null
    }
  }

  /** Adds what the store has of the hour before this process began, once; nobody waits for it. */
  #addEarlierMinutes(): void {
    const { telemetry, minutes } = this.#options
    if (minutes === undefined || this.#hasEarlierMinutes) return
    this.#hasEarlierMinutes = true
    telemetry.countByMinute(minutes.from, minutes.since).then(
      (counts) => {
        for (const [at, stored] of counts) minutes.addEarlier(at, stored)
      },
      () => {
        this.#hasEarlierMinutes = false
      },
    )
  }

  private async readAlerts() {
    const { alerts, devices } = this.#options
    const { open, opened } = await alerts.totals(this.#freshness)
    const isAnyOpen = severities.some((severity) => open[severity] > 0)
    const newest = isAnyOpen ? await alerts.newestOpen(shownAlerts, this.#freshness) : []
    const names = await devices.findMany(newest.map(({ deviceId }) => deviceId))
    return {
      open,
      opened_total: opened,
      newest: newest.map((alert) => alertView(alert, names.get(alert.deviceId)?.name ?? null)),
    }
  }

  private async readAccounts() {
    const { telemetry, deadLetters, exact } = this.#options
    const [account, letters] = await Promise.all([
      orNull(telemetry.account(undefined, this.#freshness)),
      deadLetters.count(),
    ])
    const accounting = account && { ...accountView(account, exact), difference: differenceOf(account) }
    return { accounting, letters }
  }
}
