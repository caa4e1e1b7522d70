/** Messages from the server to the broker, over the data plane of AWS IoT or the local one with the same protocol. */
import {
  DeleteConnectionCommand,
  IoTDataPlaneClient,
  ListRetainedMessagesCommand,
  PublishCommand,
  type ServiceOutputTypes,
} from '@aws-sdk/client-iot-data-plane'

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

/** Headers in which the local data plane tells what AWS IoT Core does not. */
export const publishedHeaders = {
  reached: 'x-iotflow-reached',
  sessions: 'x-iotflow-sessions',
  confirmed: 'x-iotflow-confirmed',
} as const

/** The address of the data plane. */
export interface MessengerOptions {
  /** A URL; for AWS IoT Core `https://<id>-ats.iot.<region>.amazonaws.com`. */
  endpoint: string
  region: string
  /** Undefined: the credentials of the function's environment. */
  credentials?: { accessKeyId: string; secretAccessKey: string } | undefined
}

/** Time-outs of one attempt, ms; two attempts fit into the time of a function that publishes. */
const requestTimeoutMs = 3000
const connectionTimeoutMs = 2000
const maxAttempts = 2

type Headers = Readonly<Record<string, string>>

const publishedOf = (headers: Headers | undefined): Published => {
  const reached = headers?.[publishedHeaders.reached]
  return {
    reached: reached === undefined ? undefined : reached === 'true',
    sessions: headers?.[publishedHeaders.sessions]?.split(' ').filter((id) => id !== '') ?? [],
    isConfirmed: headers?.[publishedHeaders.confirmed] === 'true',
  }
}

export function createMessenger({ endpoint, region, credentials }: MessengerOptions): Messenger {
  const client = new IoTDataPlaneClient({
    endpoint,
    region,
    ...(credentials === undefined ? {} : { credentials }),
    maxAttempts,
    requestHandler: { requestTimeout: requestTimeoutMs, connectionTimeout: connectionTimeoutMs },
  })
  // The client's answers hold no headers but those that it knows.
  client.middlewareStack.add(
    (next) => async (call) => {
      const answer = await next(call)
      const { headers } = answer.response as { headers?: Headers }
      return { ...answer, output: { ...(answer.output as ServiceOutputTypes), headers } }
    },
    { step: 'initialize', name: 'keepHeaders' },
  )
  return {
    async publish({ topic, payload, retain, properties }) {
      const message = { topic, payload: Buffer.from(payload), qos: 1, retain }
      const extras = properties && {
        responseTopic: properties.responseTopic,
        correlationData: Buffer.from(properties.correlationData).toString('base64'),
        messageExpiry: properties.expiresInS,
      }
      const answer = await client.send(new PublishCommand({ ...message, ...extras }))
      return publishedOf((answer as object as { headers?: Headers }).headers)
    },
    async disconnect(clientId) {
      try {
        await client.send(
          new DeleteConnectionCommand({ clientId, cleanSession: true, preventWillMessage: true }),
        )
      } catch (error) {
        if ((error as { name?: string }).name !== 'ResourceNotFoundException') throw error
      }
    },
    async check() {
      await client.send(new ListRetainedMessagesCommand({ maxResults: 1 }))
    },
    close: () => client.destroy(),
  }
}
