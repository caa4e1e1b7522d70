/** A device that speaks HTTP: every message is one POST, and it asks for commands and configuration with its heartbeat. */
import { describe, GaveUp, type HttpClient, type Patience, type Request } from './http-client.ts'
import {
  acknowledged,
  type CommandAnswer,
  type CommandMessage,
  commandOf,
  configurationOf,
  type Identity,
  type Message,
  type Outcome,
  type Uplink,
  type UplinkEvents,
} from './uplink.ts'

/** The indexes of a batch that the server refused. */
const refusedOf = (body: unknown): ReadonlyMap<number, string> => {
  const { rejected } = (body ?? {}) as { rejected?: unknown }
  if (!Array.isArray(rejected)) return new Map()
  return new Map(rejected.map(({ index, code, message }) => [Number(index), String(message ?? code)]))
}

export class HttpUplink implements Uplink {
  readonly #client: HttpClient
  readonly #base: string
  readonly #key: string
  readonly #events: UplinkEvents
  #over = false
  #entityTag: string | undefined
  /** False since the server said that it has no commands for HTTP. */
  #asksForCommands = true
  #asking = false
  /** The last answer to a command. */
  #answered: Promise<boolean> = Promise.resolve(true)

  /** @param url base URL of the server, without a slash at its end. */
  constructor(client: HttpClient, url: string, device: Identity, events: UplinkEvents) {
    this.#client = client
    this.#base = `${url}/api/v1/devices`
    this.#key = device.apiKey
    this.#events = events
  }

  async connect(): Promise<void> {
    this.#events.onConnected(true)
  }

  /** 201 (stored) and 202 (durably queued) acknowledge a message. */
  async send({ payload, loseAnswer }: Message): Promise<Outcome> {
    try {
      const answer = await this.#request('/telemetry', {
        method: 'POST',
        body: payload,
        loseFirstAnswer: loseAnswer,
      })
      if (answer.status !== 201 && answer.status !== 202)
        return { acknowledged: false, reason: describe(answer), final: true }
      const refused = refusedOf(answer.body)
      return refused.size === 0 ? acknowledged : { acknowledged: true, refused }
    } catch (error) {
      if (error instanceof GaveUp) return { acknowledged: false, reason: error.message, final: false }
      throw error
    }
  }

  heartbeat(): void {
    void this.#ask()
  }

  answerCommand(id: CommandMessage['command_id'], answer: CommandAnswer): Promise<boolean> {
    const path = `/commands/${encodeURIComponent(id)}`
    // One after the other: parallel requests may arrive in another order.
    this.#answered = this.#answered
      .then(() => this.#request(path, { method: 'POST', body: JSON.stringify(answer) }))
      .then(
        ({ status }) => status < 300,
        () => false,
      )
    return this.#answered
  }

  /** Over HTTP the request for the configuration itself says which version the device has. */
  reportConfiguration(): void {}

  disconnect(): void {}

  giveUp(): void {
    this.#over = true
  }

  async close(): Promise<void> {
    this.#over = true
    this.#events.onConnected(false)
  }

  #request(path: string, request: Request, maxLost?: number) {
    const patience: Patience = {
      over: () => this.#over,
      onRetry: this.#events.onRetry,
      ...(maxLost === undefined ? {} : { maxLost }),
    }
    const headers = {
      'X-API-Key': this.#key,
      ...(request.body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...request.headers,
    }
    return this.#client.request(`${this.#base}${path}`, { ...request, headers }, patience)
  }

  /** One heartbeat. A lost one has no consequence: the next one comes. */
  async #ask(): Promise<void> {
    if (this.#asking || this.#over) return
    this.#asking = true
    try {
      await this.#request('/heartbeat', { method: 'POST', body: '{}' }, 1)
      await this.#askForConfiguration()
      if (this.#asksForCommands) await this.#askForCommands()
    } catch (error) {
      if (!(error instanceof GaveUp)) throw error
    } finally {
      this.#asking = false
    }
  }

  async #askForConfiguration(): Promise<void> {
    const headers: Record<string, string> =
      this.#entityTag === undefined ? {} : { 'If-None-Match': this.#entityTag }
    const answer = await this.#request('/config', { headers }, 1)
    const configuration = answer.status === 200 ? configurationOf(answer.body) : undefined
    if (configuration === undefined) return
    this.#entityTag = answer.headers.etag
    if (configuration.version > 0) this.#events.onConfiguration(configuration.version, configuration.values)
  }

  async #askForCommands(): Promise<void> {
    const answer = await this.#request('/commands?wait=0', {}, 1)
    if (answer.status === 404 || answer.status === 405) this.#asksForCommands = false
    const { commands } = (answer.body ?? {}) as { commands?: unknown }
    if (!Array.isArray(commands)) return
    for (const item of commands) {
      const command = commandOf(item)
      if (command !== undefined) this.#events.onCommand(command)
    }
  }
}
