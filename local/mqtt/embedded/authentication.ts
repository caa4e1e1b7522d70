/**
 * Decides who may connect: asks the authorizer at CONNECT and again at intervals, counts failed logins by address, and keeps
 * track of whose session a client id is.
 */
import { randomBytes } from 'node:crypto'
import type { AuthenticateError, Client, ConnectPacket } from 'aedes'
import type { AuthorizerEvent, AuthorizerResult } from '../../../lib/mqtt/authorizer.ts'
import { deviceOfClientId } from '../../../lib/mqtt/client-ids.ts'
import { compilePolicies, type Policy } from '../../../lib/mqtt/policy.ts'
import { announceClientId, useSession } from './aedes-internals.ts'
import type { Connection, ConnectRequest } from './connection.ts'
import type { ConnectionTable } from './connection-table.ts'
import { authFailuresPerMinutePerName, type BrokerLog, type BrokerOptions, reasonCodes } from './options.ts'
import type { BrokerPersistence } from './persistence.ts'

/** CONNACK return codes of MQTT 3.1.1; aedes answers MQTT 5 clients with the reason codes 0x85 to 0x88. */
const refusal = { identifier: 2, unavailable: 3, credentials: 4, unauthorized: 5 } as const
type Refusal = (typeof refusal)[keyof typeof refusal]

/** Pause before the authorizer is asked again about an open connection after it has failed, ms. */
const refreshRetryMs = 10_000
const failureWindowMs = 60_000
/** Persistent sessions of one principal. */
const maxSessions = 16

const nameKey = (address: string, username: string): string => `${address} ${username.slice(0, 32)}`

/** Counts failed logins per address, and per user name from one address, in windows of a minute. */
export class LoginFailures {
  private readonly limit: number
  private readonly limitPerName: number
  /** In the order of their ends. */
  private readonly windows = new Map<string, { count: number; until: number }>()

  /** @param limit failures per minute and address; 0 turns both limits off. */
  constructor(limit: number) {
    this.limit = limit
    this.limitPerName = limit === 0 ? 0 : authFailuresPerMinutePerName
  }

  add(address: string, username: string): void {
    if (this.limit === 0) return
    for (const key of [address, nameKey(address, username)]) {
      const window = this.current(key)
      if (window) window.count++
      else {
        this.windows.delete(key)
        this.windows.set(key, { count: 1, until: Date.now() + failureWindowMs })
      }
    }
  }

  exceeded(address: string): boolean {
    return this.limit > 0 && (this.current(address)?.count ?? 0) > this.limit
  }

  nameExceeded(address: string, username: string): boolean {
    const { count = 0 } = this.current(nameKey(address, username)) ?? {}
    return this.limitPerName > 0 && count >= this.limitPerName
  }

  /** Removes windows that are over. */
  sweep(): void {
    for (const [key, { until }] of this.windows) {
      if (until > Date.now()) break
      this.windows.delete(key)
    }
  }

  private current(key: string) {
    const window = this.windows.get(key)
    return window !== undefined && window.until > Date.now() ? window : undefined
  }
}

/** Remembers which principal each persistent session belongs to, so that no other one takes it over. */
export class SessionOwners {
  private readonly persistence: BrokerPersistence
  private readonly isConnected: (clientId: string) => boolean
  private readonly forget: (clientId: string) => void
  /** Client ids by principal, oldest first. */
  private readonly clientIds = new Map<string, Set<string>>()
  private readonly owners = new Map<string, { readonly principalId: string; readonly policy: Policy }>()

  /** @param forget called for a session whose client is offline, when it is deleted. */
  constructor(
    persistence: BrokerPersistence,
    isConnected: (clientId: string) => boolean,
    forget: (clientId: string) => void,
  ) {
    this.persistence = persistence
    this.isConnected = isConnected
    this.forget = forget
  }

  ownerOf(clientId: string): string | undefined {
    return this.owners.get(clientId)?.principalId
  }

  /** The rights that the owner had when it connected last. */
  policyOf(clientId: string): Policy | undefined {
    return this.owners.get(clientId)?.policy
  }

  /** Client ids of the principal's sessions, oldest first. */
  clientsOf(principalId: string): string[] {
    return [...(this.clientIds.get(principalId) ?? [])]
  }

  /** Records the owner of a session. Of too many sessions the oldest one whose client is offline is deleted. */
  async add(clientId: string, principalId: string, policy: Policy): Promise<void> {
    this.remove(clientId, principalId)
    this.owners.set(clientId, { principalId, policy })
    const own = this.clientIds.get(principalId) ?? new Set()
    this.clientIds.set(principalId, own.add(clientId))
    if (own.size <= maxSessions) return
    const oldest = [...own].find((id) => !this.isConnected(id) && id !== clientId)
    if (oldest !== undefined) await this.endSession(oldest, principalId)
  }

  remove(clientId: string, principalId: string): void {
    this.owners.delete(clientId)
    const own = this.clientIds.get(principalId)
    if (own?.delete(clientId) && own.size === 0) this.clientIds.delete(principalId)
  }

  /** Deletes the session's subscriptions, queued messages and delayed will. */
  async endSession(clientId: string, principalId: string): Promise<void> {
    this.remove(clientId, principalId)
    if (!this.isConnected(clientId)) this.forget(clientId)
    await this.persistence.cleanSubscriptions({ id: clientId })
    await this.persistence.delWill({ id: clientId })
  }
}

/** Parts of a CONNECT that the types of aedes do not name. */
interface ConnectProperties {
  readonly protocolVersion: number
  readonly properties?: { readonly sessionExpiryInterval?: number }
}

export interface AuthenticationOptions {
  readonly broker: Pick<BrokerOptions, 'authorize' | 'arnPrefix'>
  readonly connections: ConnectionTable
  readonly sessions: SessionOwners
  readonly failures: LoginFailures
  readonly closing: AbortSignal
  readonly log: BrokerLog
  /** Called when a client is let in. */
  onAuthenticated(connection: Connection): void
}

export class Authentication {
  private readonly options: AuthenticationOptions

  constructor(options: AuthenticationOptions) {
    this.options = options
  }

  /** aedes' `preConnect`: reads the CONNECT, and gives an id to a client that leaves the choice to the broker. */
  preConnect(
    client: Client,
    packet: ConnectPacket,
    callback: (error: Error | null, ok: boolean) => void,
  ): void {
    const connection = this.options.connections.of(client)
    if (connection === undefined || this.options.closing.aborted) {
      callback(new Error('closing'), false)
      return
    }
    const { clean, properties, protocolVersion, username, will } = packet as ConnectPacket & ConnectProperties
    const isAssigned = packet.clientId === '' && (clean || protocolVersion === 5)
    if (isAssigned) {
      const deviceId = /^[1-9]\d{0,14}/.exec(username ?? '')?.[0] ?? 'client'
      packet.clientId = `${deviceId}-${randomBytes(9).toString('hex')}`
    }
    const isPersistent = protocolVersion === 5 ? (properties?.sessionExpiryInterval ?? 0) > 0 : !clean
    const usesSession = isPersistent || !clean
    connection.connect = { clientId: packet.clientId, isAssigned, usesSession, isPersistent, will }
    callback(null, true)
  }

  /** aedes' `authenticate`. */
  authenticate(
    client: Client,
    username: string | undefined,
    password: Buffer | undefined,
    done: (error: AuthenticateError | null, success: boolean | null) => void,
  ): void {
    const { connections, log, onAuthenticated } = this.options
    const connection = connections.of(client)
    const connect = connection?.connect
    if (connection === undefined || connect === undefined) {
      client.close()
      return
    }
    this.admit(connection, connect, username, password)
      .catch((error: unknown) => {
        log('error', 'mqtt admission failed', { connection: connection.id, error })
        return refusal.unavailable
      })
      .then((code) => {
        if (code !== undefined) {
          done(Object.assign(new Error('refused'), { returnCode: code }) as never, false)
          return
        }
        onAuthenticated(connection)
        if (connect.isAssigned) announceClientId(client)
        if (connect.usesSession) useSession(client)
        connection.limitDeliveries()
        connection.guard.open()
        done(null, true)
      })
  }

  /** Asks the authorizer again about an open connection, and ends it when it would not be let in now. */
  async refresh(connection: Connection): Promise<void> {
    const { broker, log } = this.options
    connection.refreshAt = Number.POSITIVE_INFINITY
    if (connection.authorizerEvent === undefined) return
    try {
      const result = await broker.authorize(connection.authorizerEvent)
      if (result?.isAuthenticated === true && result.principalId === connection.principalId) {
        const policyDocuments = result.policyDocuments ?? []
        const { policy } = connection
        const isSame = policy?.isFrom(policyDocuments) === true
        connection.grant(result, isSame ? policy : compilePolicies(policyDocuments, broker.arnPrefix))
      } else connection.drop('warn', 'its rights have ended', reasonCodes.notAuthorized)
    } catch (error) {
      log('error', 'mqtt authorizer failed', { connection: connection.id, error })
      connection.refreshAt = Date.now() + refreshRetryMs
    }
  }

  /** Resolves with the CONNACK code of a refusal, or with undefined when the client is let in. */
  private async admit(
    connection: Connection,
    connect: ConnectRequest,
    username: string | undefined,
    password: Buffer | undefined,
  ): Promise<Refusal | undefined> {
    const { broker, failures, log } = this.options
    const { address } = connection.peer
    const name = username ?? ''
    if (failures.nameExceeded(address, name)) return refusal.unavailable
    const event: AuthorizerEvent = {
      protocols: connection.protocols,
      protocolData: {
        mqtt: {
          ...(username === undefined ? {} : { username }),
          ...(password === undefined ? {} : { password: password.toString('base64') }),
          clientId: connect.clientId,
        },
      },
      connectionMetadata: { id: connection.id, address },
    }
    let result: AuthorizerResult
    try {
      result = await broker.authorize(event)
    } catch (error) {
      log('error', 'mqtt authorizer failed', { connection: connection.id, error })
      return refusal.unavailable
    }
    if (result?.isAuthenticated !== true || !result.principalId) {
      failures.add(address, name)
      return refusal.credentials
    }
    const { principalId } = result
    const policy = compilePolicies(result.policyDocuments ?? [], broker.arnPrefix)
    const refused = this.refusalOf(connect, principalId, policy)
    if (refused !== undefined) {
      log('warn', 'mqtt connection refused', {
        connection: connection.id,
        device: principalId,
        reason: refused.reason,
      })
      return refused.code
    }
    connection.principalId = principalId
    connection.authorizerEvent = event
    connection.grant(result, policy)
    return undefined
  }

  /** Why the policy refuses this CONNECT; undefined when it allows it. */
  private refusalOf(
    { clientId, usesSession, will }: ConnectRequest,
    principalId: string,
    policy: Policy,
  ): { code: Refusal; reason: string } | undefined {
    const { connections, sessions } = this.options
    const owner = connections.withClientId(clientId)?.principalId ?? sessions.ownerOf(clientId) ?? principalId
    const features = { will: will !== undefined, persistent: usesSession }
    if (!policy.connect(clientId, features)) {
      const isOwn = String(deviceOfClientId(clientId)) === principalId
      return isOwn
        ? { code: refusal.unauthorized, reason: 'its will or session is not allowed' }
        : { code: refusal.identifier, reason: 'its client id is not allowed' }
    }
    if (owner !== principalId) return { code: refusal.unauthorized, reason: 'its session is of another' }
    const mayPublishWill =
      will === undefined || (policy.publish(will.topic) && (!will.retain || policy.retain(will.topic)))
    return mayPublishWill ? undefined : { code: refusal.unauthorized, reason: 'its will is not allowed' }
  }
}
