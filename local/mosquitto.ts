/** What the layer says to a Mosquitto: messages to devices, and to its dynamic-security plugin who may do what. */
import { randomBytes } from 'node:crypto'
import mqtt, { type MqttClient } from 'mqtt'
import type { MqttConnection } from '../lib/config.ts'
import { controlTopic } from '../lib/mqtt/accounts.ts'
import type { Broker, BrokerMessage } from './broker.ts'

export interface Mosquitto extends Pick<Broker, 'publish' | 'retained' | 'retainedTopics' | 'disconnect'> {
  /** Resolves when it is connected for the first time. */
  readonly ready: Promise<void>
  /** Carries out commands of the plugin, and answers what each gave. @throws {Error} when one failed. */
  control(commands: readonly object[]): Promise<readonly unknown[]>
  close(): Promise<void>
}

interface Answer {
  readonly command: string
  readonly correlationData?: string
  readonly error?: string
  readonly data?: unknown
}

const answerMs = 3000
/** What is so already is no failure of a command that makes it so. */
const alreadySo = /already exists|not found/i

/** A connection of its own for each process; it comes back by itself. */
export function connectMosquitto({ url, username, password }: MqttConnection): Mosquitto {
  const client: MqttClient = mqtt.connect(url, {
    username,
    password,
    clientId: `iotflow-layer-${randomBytes(6).toString('hex')}`,
    reconnectPeriod: 500,
    connectTimeout: 5000,
    // What cannot be said now is told to the caller.
    queueQoSZero: false,
  })
  client.on('error', () => {})
  const waiting = new Map<string, (answers: Answer[]) => void>()
  client.on('message', (_topic, payload) => {
    try {
      const { responses = [] } = JSON.parse(payload.toString()) as { responses?: Answer[] }
      const [first] = responses
      if (first?.correlationData !== undefined) waiting.get(first.correlationData)?.(responses)
    } catch {
      // Nobody of ours writes to this topic.
    }
  })
  const ready = new Promise<void>((resolve) => {
    client.on('connect', () => {
      client.subscribe(`${controlTopic}/response`, { qos: 1 }, () => resolve())
    })
  })

  const inTime = <T>(answer: Promise<T>): Promise<T> => {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('the broker does not answer')), answerMs)
    })
    return Promise.race([answer, late]).finally(() => clearTimeout(timer))
  }
  const publish = async ({ topic, payload, qos, retain }: BrokerMessage) => {
    if (!client.connected) throw new Error('the broker cannot be reached')
    const bytes = typeof payload === 'string' ? payload : Buffer.from(payload)
    await inTime(client.publishAsync(topic, bytes, { qos, retain }))
  }

  const control: Mosquitto['control'] = async (commands) => {
    const correlationData = randomBytes(8).toString('hex')
    const answered = new Promise<Answer[]>((resolve) => {
      waiting.set(correlationData, resolve)
    })
    try {
      const payload = JSON.stringify({
        commands: commands.map((command) => ({ ...command, correlationData })),
      })
      await publish({ topic: controlTopic, payload, qos: 1, retain: false })
      const answers = await inTime(answered)
      const failed = answers.find(({ error }) => error !== undefined && !alreadySo.test(error))
      if (failed) throw new Error(`the broker refuses ${failed.command}: ${failed.error}`)
      return answers.map(({ data }) => data)
    } finally {
      waiting.delete(correlationData)
    }
  }

  return {
    ready,
    control,
    async publish(message) {
      if (message.topic !== controlTopic) return publish(message)
      const { commands } = JSON.parse(message.payload.toString()) as { commands: object[] }
      await control(commands)
    },
    // The layer keeps what it retains; it never asks for it here.
    retained: () => undefined,
    retainedTopics() {
      if (!client.connected) throw new Error('the broker cannot be reached')
      return []
    },
    async disconnect(clientId) {
      const [id] = /[1-9]\d{0,14}/.exec(clientId) ?? []
      if (id === undefined) return false
      // The plugin ends the connections of an account that is changed, also to what it is.
      await control([{ command: 'modifyClient', username: id, textname: '' }])
      // And with it its session: who comes with the same id and wants none gets it and lets it go.
      const successor = await mqtt.connectAsync(url, {
        username,
        password,
        clientId: id,
        clean: true,
        reconnectPeriod: 0,
        connectTimeout: answerMs,
      })
      await successor.endAsync()
      return true
    },
    async close() {
      await client.endAsync(true)
    },
  }
}
