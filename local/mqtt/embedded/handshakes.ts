/** QoS 2 messages of clients whose handshake has not ended: each of them is stored once, however often it is sent. */

/** A promise while the message is being stored; `forwarded` when aedes has taken it. */
type State = Promise<unknown> | 'stored' | 'forwarded'

export class Handshakes {
  /** By client id and packet id; a session has at most 65,535 packet ids. */
  private readonly sessions = new Map<string, Map<number, State>>()

  /** Resolves when the message with this packet id is stored; undefined when it is a new one. */
  earlier(clientId: string, packetId: number): Promise<unknown> | undefined {
    const state = this.sessions.get(clientId)?.get(packetId)
    return typeof state === 'string' ? Promise.resolve() : state
  }

  /** Notes that a new message is being stored. When that fails, the message counts as new again. */
  async begin(clientId: string, packetId: number, storing: Promise<unknown>): Promise<void> {
    const session = this.sessionOf(clientId)
    session.set(packetId, storing)
    try {
      await storing
      if (session.get(packetId) === storing) session.set(packetId, 'stored')
    } catch (error) {
      if (session.get(packetId) === storing) session.delete(packetId)
      throw error
    }
  }

  /** Notes that aedes has taken the message. */
  forward(clientId: string, packetId: number): void {
    this.sessionOf(clientId).set(packetId, 'forwarded')
  }

  isForwarded(clientId: string, packetId: number): boolean {
    return this.sessions.get(clientId)?.get(packetId) === 'forwarded'
  }

  /** Ends a handshake: its packet id names a new message from now on. */
  end(clientId: string, packetId: number): void {
    const session = this.sessions.get(clientId)
    session?.delete(packetId)
    if (session?.size === 0) this.sessions.delete(clientId)
  }

  /** Forgets the handshakes of a session that has ended. */
  forget(clientId: string): void {
    this.sessions.delete(clientId)
  }

  private sessionOf(clientId: string): Map<number, State> {
    const session = this.sessions.get(clientId) ?? new Map<number, State>()
    this.sessions.set(clientId, session)
    return session
  }
}
