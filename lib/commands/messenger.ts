/** What the layer itself says to the broker: through the data plane of AWS IoT, or one that speaks like it. */
import {
  DeleteConnectionCommand,
  IoTDataPlaneClient,
  ListRetainedMessagesCommand,
  PublishCommand,
} from '@aws-sdk/client-iot-data-plane'

export interface Messenger {
  /** QoS 1. Rejects when the broker has not taken it. @param payload empty, with retain: the retained message goes. */
  publish(message: { topic: string; payload: string; retain: boolean }): Promise<void>
  /**
   * Ends the connection of a client and its session; its will is not published. Resolves also when there is none.
   * @param clientId as it was at CONNECT.
   */
  disconnect(clientId: string): Promise<void>
  /** Rejects when the broker does not answer. */
  check(): Promise<void>
  close(): void
}

/** Where the data plane is. */
export interface MessengerOptions {
  /** URL, `https://<id>-ats.iot.<region>.amazonaws.com` for AWS IoT Core. */
  endpoint: string
  region: string
  /** None: from the environment of the function. */
  credentials?: { accessKeyId: string; secretAccessKey: string } | undefined
}

/** One try of one call, ms; a function that publishes has more time than this. */
const requestTimeout = 3000

export function createMessenger({ endpoint, region, credentials }: MessengerOptions): Messenger {
  const client = new IoTDataPlaneClient({
    endpoint,
    region,
    ...(credentials === undefined ? {} : { credentials }),
    maxAttempts: 2,
    requestHandler: { requestTimeout, connectionTimeout: 2000 },
  })
  return {
    async publish({ topic, payload, retain }) {
      await client.send(new PublishCommand({ topic, payload: Buffer.from(payload), qos: 1, retain }))
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
