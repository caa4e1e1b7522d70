/** The table of all connections to the embedded broker. */
import type { Duplex } from 'node:stream'
import type { Client } from 'aedes'
import type { AuthorizerEvent } from '../../../lib/mqtt/authorizer.ts'
import { hasDisconnected } from './aedes-internals.ts'
import { Connection, type ConnectionContext } from './connection.ts'
import type { Peer } from './transports.ts'

/** All connections of the broker. */
export class ConnectionTable {
  readonly all = new Set<Connection>()
  /** Connections that are authenticated and have their CONNACK. */
  readonly established = new Set<Connection>()
  private readonly byClient = new WeakMap<Client, Connection>()
  /** Connections that aedes has under their client id. */
  private readonly byClientId = new Map<string, Connection>()
  /** Of `established`, by principal. */
  private readonly byPrincipal = new Map<string, Set<Connection>>()
  private opened = 0

  /** Begins a connection on a stream that nobody has read from. */
  open(
    stream: Duplex,
    peer: Peer,
    protocols: NonNullable<AuthorizerEvent['protocols']>,
    context: ConnectionContext,
  ): void {
    const connection = new Connection(stream, peer, protocols, context, ++this.opened)
    this.all.add(connection)
    this.byClient.set(connection.client, connection)
  }

  of(client: Client | null): Connection | undefined {
    return client ? this.byClient.get(client) : undefined
  }

  withClientId(clientId: string): Connection | undefined {
    return this.byClientId.get(clientId)
  }

  /** Those that are established. */
  ofPrincipal(principalId: string): Connection[] {
    return [...(this.byPrincipal.get(principalId) ?? [])]
  }

  /** The client has its CONNACK. */
  establish(connection: Connection): void {
    const { principalId } = connection
    connection.ready = true
    this.established.add(connection)
    this.byPrincipal.set(principalId, (this.byPrincipal.get(principalId) ?? new Set()).add(connection))
  }

  /** aedes has registered the client under its id: an earlier connection of that id is about to end. */
  registered(client: Client): void {
    const connection = this.byClient.get(client)
    const before = this.byClientId.get(client.id)
    if (before && before !== connection) before.endReason ??= 'DUPLICATE_CLIENTID'
    if (connection && !connection.gone) this.byClientId.set(client.id, connection)
  }

  /** Removes a connection whose stream is closed. @returns true when it had been established. */
  remove(connection: Connection): boolean {
    if (connection.gone) return false
    connection.gone = true
    this.all.delete(connection)
    if (this.byClientId.get(connection.client.id) === connection) this.byClientId.delete(connection.client.id)
    if (!connection.ready) return false
    this.established.delete(connection)
    const own = this.byPrincipal.get(connection.principalId)
    own?.delete(connection)
    if (own?.size === 0) this.byPrincipal.delete(connection.principalId)
    connection.endReason ??= hasDisconnected(connection.client)
      ? 'CLIENT_INITIATED_DISCONNECT'
      : 'CONNECTION_LOST'
    return true
  }
}
