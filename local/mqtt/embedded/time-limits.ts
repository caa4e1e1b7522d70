/** Enforces the time limits of connections and messages at intervals, which costs less than a timer for each of them. */
import type { Authentication, LoginFailures } from './authentication.ts'
import type { ConnectionTable } from './connection-table.ts'
import { type BrokerLimits, reasonCodes } from './options.ts'
import type { Publishing } from './publishing.ts'
import type { Peers } from './transports.ts'

export interface TimeLimitsOptions {
  readonly limits: BrokerLimits
  readonly peers: Peers
  readonly failures: LoginFailures
  readonly publishing: Publishing
  readonly connections: ConnectionTable
  readonly authentication: Authentication
}

export class TimeLimits {
  private readonly options: TimeLimitsOptions
  private readonly timer: NodeJS.Timeout

  constructor(options: TimeLimitsOptions) {
    const { connectTimeoutMs, invokeTimeoutMs, packetTimeoutMs } = options.limits
    // A limit is exceeded by a quarter of it at most, and by no more than a second.
    const intervalMs = Math.min(connectTimeoutMs, packetTimeoutMs, invokeTimeoutMs) / 4
    this.options = options
    this.timer = setInterval(() => this.enforce(Date.now()), Math.max(20, Math.min(1000, intervalMs)))
    this.timer.unref()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  private enforce(now: number): void {
    const { authentication, connections, failures, limits, peers, publishing } = this.options
    failures.sweep()
    peers.closePendingSince(now - limits.connectTimeoutMs)
    publishing.expireStalled(now)
    for (const connection of connections.all) {
      const since = connection.guard.incompleteSince()
      if (connection.policy && since !== undefined && now - since > limits.packetTimeoutMs)
        connection.drop('warn', 'a packet was not completed in time')
      else if (now > connection.endsAt)
        connection.drop('debug', 'the time that the authorizer allowed is over', reasonCodes.connectTimeOver)
      else if (now > connection.refreshAt && connection.ready) void authentication.refresh(connection)
    }
  }
}
