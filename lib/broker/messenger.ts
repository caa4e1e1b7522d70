/** Messages from the server to the broker, over the data plane of AWS IoT or the local one with the same protocol. */
import { brokerCheckOf } from './check.ts'
import { createDataPlaneClient, type DataPlaneOptions } from './data-plane-client.ts'
import { disconnecterOf } from './disconnect.ts'
import { publisherOf } from './publish.ts'

/** A message to devices. */
export interface OutgoingMessage {
  readonly topic: string
  /** Empty with `retain`: deletes the retained message of the topic. */
  readonly payload: string
  readonly retain: boolean
  /** For receivers that speak MQTT 5. */
  readonly properties?: {
    readonly responseTopic: string
    readonly correlationData: string
    /** Seconds, from 1. */
    readonly expiresInS: number
  }
}

/** What a broker tells of a message that it has taken. AWS IoT Core tells nothing. */
export interface Published {
  /** Whether somebody was subscribed; undefined where the broker does not tell. */
  readonly reached: boolean | undefined
  /** Sessions of the connected clients that get it; empty where the broker does not tell. */
  readonly sessions: readonly string[]
  /** Whether the broker will tell that a client has it. */
  readonly isConfirmed: boolean
}

export interface Messenger {
  /** Publishes with QoS 1; rejects when the broker does not accept the message. */
  publish(message: OutgoingMessage): Promise<Published>
  /**
   * Ends the connection and the session of a client, without its will. Resolves also when there is no such client.
   * @param clientId exactly as in its CONNECT.
   */
  disconnect(clientId: string): Promise<void>
  /** Rejects when the broker does not answer. */
  check(): Promise<void>
  close(): void
}

/** All that a server says to its broker; a function takes only the parts that it calls. */
export function createMessenger(options: DataPlaneOptions): Messenger {
  const client = createDataPlaneClient(options)
  return {
    ...publisherOf(client),
    ...disconnecterOf(client),
    ...brokerCheckOf(client),
    close: () => client.destroy(),
  }
}
