/** A broker that keeps a list of what it is told, behind the real data plane endpoint: functions reach it over HTTP. */
import type { Config } from '../../lib/config.ts'
import { openDataPlane } from '../../local/mqtt/data-plane.ts'

export interface Published {
  readonly topic: string
  readonly payload: string
  readonly qos: number
  readonly retain: boolean
}

export interface RecordingBroker {
  /** The setting that points the functions to this broker. */
  readonly iot: NonNullable<Config['iot']>
  /** Every published message, oldest first. */
  readonly published: Published[]
  /** Client ids whose connection the server asked to end, in the order of the requests. */
  readonly ended: string[]
  /** Whether somebody is subscribed to what is published; true at first. */
  reaches: boolean
  /** While true, the data plane answers 503 to every call. */
  unavailable: boolean
  /** Runs while the server waits for the end of a connection. */
  onEnd: (clientId: string) => Promise<void>
  /** Forgets what was recorded, and `onEnd`. */
  clear(): void
  close(): Promise<void>
}

export async function startRecordingBroker(): Promise<RecordingBroker> {
  const published: Published[] = []
  const ended: string[] = []
  const broker = {
    async publish(message: Omit<Published, 'payload'> & { readonly payload: Uint8Array | string }) {
      published.push({ ...message, payload: Buffer.from(message.payload).toString() })
      return {
        reached: recorder.reaches,
        sessions: recorder.reaches ? ['session'] : [],
        isConfirmed: recorder.reaches,
      }
    },
    retained: () => undefined,
    retainedTopics: () => [],
    async disconnect(clientId: string) {
      ended.push(clientId)
      await recorder.onEnd(clientId)
      return true
    },
  }
  const plane = await openDataPlane(() => (recorder.unavailable ? undefined : broker))
  const recorder: RecordingBroker = {
    iot: { endpoint: plane.endpoint, region: plane.region, credentials: plane.credentials },
    published,
    ended,
    reaches: true,
    unavailable: false,
    onEnd: async () => {},
    clear() {
      published.length = 0
      ended.length = 0
      recorder.onEnd = async () => {}
    },
    close: () => plane.close(),
  }
  return recorder
}
