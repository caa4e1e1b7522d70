/** A smoke test: one new device does with a server what devices and operators do, step by step, and is removed again. */
import { randomBytes } from 'node:crypto'
import { askCredentials, brokerUrl, type Credentials } from '../broker.ts'
import { Enrolment } from '../enrolment.ts'
import { type Answer, describe, GaveUp, HttpClient, SimulationError } from '../http-client.ts'
import { TimerQueue } from '../timer-queue.ts'
import type { Identity } from '../uplink.ts'
import { MqttDevice } from './mqtt-device.ts'

export interface SmokeOptions {
  /** Base URL of the server, without a slash at its end. */
  readonly url: string
  readonly adminToken: string
  /** Undefined: the device is imported with the admin token. */
  readonly enrollmentKey?: string | undefined
  /** Leaves out everything over MQTT. */
  readonly httpOnly: boolean
  /** Longest time of a step, ms. */
  readonly stepMs: number
  /** Aborted: no further step, only the removal. */
  readonly signal: AbortSignal
  /** Called when a step has ended, and for the removal after a failure. */
  onStep(step: Step): void
}

export interface Step {
  readonly name: string
  /** Milliseconds. */
  readonly ms: number
  readonly ok: boolean
  /** What was seen, or why it failed: one sentence. */
  readonly detail: string
}

export interface SmokeResult {
  readonly ok: boolean
  readonly steps: readonly Step[]
  /** What could not be removed: one sentence each. */
  readonly left: readonly string[]
}

/** Pause between two looks, ms: an unchanged device may make 60 requests a minute. */
const lookEveryMs = 1500
const adminPath = '/api/v1/admin/devices'

/** Lost connections in a row after which a step fails. */
const maxLost = 3

type Json = Readonly<Record<string, unknown>>

interface Named {
  readonly id: number
  readonly name: string
}

interface Asked {
  readonly method?: 'GET' | 'POST' | 'DELETE'
  /** JSON. */
  readonly body?: string
  /** Whose credential goes with the request. */
  readonly as?: 'admin' | 'device'
}

/** Ends the steps; the failed one is reported. */
class StepFailed extends Error {
  override readonly name = 'StepFailed'
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

export class SmokeTest {
  readonly #options: SmokeOptions
  readonly #timers = new TimerQueue()
  readonly #client = new HttpClient(this.#timers)
  readonly #steps: Step[] = []
  /** No other run, and nothing else on the server, has this name. */
  readonly #name =
    `smoke-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}-${randomBytes(3).toString('hex')}`
  readonly #value = randomBytes(3).readUIntBE(0, 3)
  #device: Identity | undefined
  #mqtt: MqttDevice | undefined
  /** Of the step that runs, by the clock of the timers. */
  #deadline = 0
  /** Whether there may be something to remove. */
  #madeSomething = false
  #isCleaningUp = false

  constructor(options: SmokeOptions) {
    this.#options = options
    options.signal.addEventListener('abort', () => this.#timers.endPauses())
  }

  /** Never rejects: a failure is in the result. */
  async run(): Promise<SmokeResult> {
    let left: readonly string[] = []
    try {
      await this.#allSteps()
    } catch (error) {
      // The step has reported it.
      if (!(error instanceof StepFailed)) throw error
    } finally {
      this.#mqtt?.close()
      if (this.#madeSomething) left = await this.#cleanUp()
      this.#client.close()
      this.#timers.stop()
    }
    return { ok: left.length === 0 && this.#steps.every(({ ok }) => ok), steps: this.#steps, left }
  }

  async #allSteps(): Promise<void> {
    const { httpOnly, enrollmentKey } = this.#options
    await this.#step('health', () => this.#health())
    await this.#step(enrollmentKey === undefined ? 'import' : 'register', () => this.#enrol())
    await this.#step('HTTP in', () => this.#sendOverHttp())
    await this.#step('HTTP out', () => this.#find('smoke_http'))
    const credentials = httpOnly
      ? undefined
      : await this.#step('MQTT credentials', (note) => this.#credentials(note))
    if (credentials !== undefined) {
      await this.#step('MQTT connect', () => this.#connect(credentials))
      await this.#step('MQTT in', () => this.#sendOverMqtt())
      await this.#step('MQTT out', () => this.#find('smoke_mqtt'))
      await this.#step('command', () => this.#command())
    }
    await this.#step('revoke', () => this.#revoke())
    if (credentials !== undefined)
      await this.#step('MQTT refused', () => this.#connectionIsRefused(credentials))
    await this.#step('remove', () => this.#remove())
  }

  async #health(): Promise<string> {
    const { status, version } = await this.#ask('/health')
    if (status !== 'healthy' && status !== 'degraded') throw new SimulationError(`The server is ${status}.`)
    return `${status}, version ${version}`
  }

  async #enrol(): Promise<string> {
    const { url, adminToken, enrollmentKey } = this.#options
    const enrolment = new Enrolment({
      url,
      client: this.#client,
      enrollmentKey,
      ...(enrollmentKey === undefined && { adminToken }),
      over: () => this.#isOver(),
    })
    this.#madeSomething = true
    const [device] = await enrolment.enrol([
      { name: this.#name, type: 'sensor', description: 'Made by npm run smoke', location: '' },
    ])
    if (device === undefined) throw new SimulationError('The server gave no key.')
    this.#device = device
    return `device ${device.id}, ${device.name}`
  }

  async #sendOverHttp(): Promise<string> {
    const body = JSON.stringify({ data: { smoke_http: this.#value } })
    const answer = await this.#request('/api/v1/devices/telemetry', { method: 'POST', body, as: 'device' })
    if (answer.status !== 201 && answer.status !== 202) throw new SimulationError(describe(answer))
    return answer.status === 201 ? 'stored' : 'waits in the spool'
  }

  /** Asks until the reading is there: a message may wait in a queue first. */
  async #find(field: string): Promise<string> {
    const path = `/api/v1/telemetry/${this.#own.id}?fields=${field}&limit=1`
    await this.#until('the reading is not among the answers', async () => {
      const { data } = (await this.#ask(path, { as: 'device' })) as { data?: readonly Json[] }
      return data?.[0]?.[field] === this.#value
    })
    return `${field} ${this.#value}`
  }

  async #credentials(note: (detail: string) => void): Promise<Credentials> {
    const { url } = this.#options
    const over = () => this.#isOver()
    const credentials = await askCredentials({ url, device: this.#own, client: this.#client, over })
    const address = this.#brokerOf(credentials)
    note(`${address}${credentials.alpn === null ? '' : ` with ALPN ${credentials.alpn}`}`)
    return credentials
  }

  async #connect(credentials: Credentials): Promise<string> {
    this.#mqtt = await MqttDevice.open(this.#brokerOf(credentials), credentials, this.#own.apiKey)
    return `as ${credentials.client_id}`
  }

  async #sendOverMqtt(): Promise<string> {
    const sent = this.#connection.sendTelemetry(JSON.stringify({ data: { smoke_mqtt: this.#value } }))
    await this.#whileConnected(sent, 'there was no PUBACK')
    return 'acknowledged'
  }

  async #command(): Promise<string> {
    const mqtt = this.#connection
    await this.#whileConnected(mqtt.subscribeCommands(), 'there was no SUBACK')
    const path = `${adminPath}/${this.#own.id}/commands`
    const body = JSON.stringify({ command: 'smoke', params: { value: this.#value }, ttl_s: 300 })
    const { command_id: id } = (await this.#ask(path, { method: 'POST', body, expect: 202 })) as {
      command_id: string
    }
    await this.#until('the device did not get the command', async () => mqtt.received(id) !== undefined)
    const { params } = mqtt.received(id) ?? {}
    await this.#whileConnected(
      mqtt.answer(id, { status: 'succeeded', result: params }),
      'there was no PUBACK',
    )
    await this.#until('the answer of the device did not arrive', async () => {
      const { command } = (await this.#ask(`${path}/${id}`)) as { command?: Json }
      return command?.status === 'succeeded'
    })
    return 'received and answered'
  }

  async #revoke(): Promise<string> {
    await this.#ask(`${adminPath}/${this.#own.id}/revoke-key`, { method: 'POST', body: '{}' })
    const mqtt = this.#mqtt
    let connected = mqtt !== undefined
    mqtt?.ended.then(() => {
      connected = false
    })
    await this.#until('the MQTT connection is still open', async () => !connected)
    await this.#until('the server still takes the key', async () => {
      const { status } = await this.#request('/api/v1/devices/status', { as: 'device' })
      return status === 401
    })
    return mqtt === undefined ? 'the key is refused' : 'the connection ended, and the key is refused'
  }

  async #connectionIsRefused(credentials: Credentials): Promise<string> {
    const again = await MqttDevice.open(this.#brokerOf(credentials), credentials, this.#own.apiKey).catch(
      (error: unknown) => {
        if (error instanceof SimulationError) return undefined
        throw error
      },
    )
    again?.close()
    if (again !== undefined) throw new SimulationError('The broker still takes the revoked key.')
    return 'no new connection'
  }

  async #remove(): Promise<string> {
    const { id } = this.#own
    await this.#deleteDevice(id)
    const { status } = await this.#request(`${adminPath}/${id}`)
    if (status !== 404) throw new SimulationError(`The device is still there: HTTP ${status}.`)
    this.#madeSomething = false
    return `device ${id} and its readings`
  }

  /** Deletes a device with its readings. A deployed server deletes many readings in parts. */
  async #deleteDevice(id: number): Promise<void> {
    const answer = await this.#request(`${adminPath}/${id}?telemetry=true`, { method: 'DELETE' })
    if (answer.status !== 200 && answer.status !== 202 && answer.status !== 404)
      throw new SimulationError(describe(answer))
    const { deletion_id: deletionId } = (answer.body ?? {}) as { deletion_id?: number }
    if (deletionId === undefined) return
    await this.#until('the readings are not deleted yet', async () => {
      const { deletion } = (await this.#ask(`/api/v1/admin/deletions/${deletionId}`)) as { deletion?: Json }
      return deletion?.state === 'finished'
    })
  }

  /** Finds the device by its name: the answer that told its id may have been lost. @returns what stays. */
  async #cleanUp(): Promise<readonly string[]> {
    this.#isCleaningUp = true
    let left: readonly string[] = []
    await this.#step('clean up', async () => {
      const { id } = this.#device ?? {}
      left = [`The device ${this.#name}${id === undefined ? '' : `, id ${id},`} and its readings.`]
      const query = new URLSearchParams({ q: this.#name, limit: '10' })
      const { devices } = (await this.#ask(`${adminPath}?${query}`)) as { devices: readonly Named[] }
      const own = devices.filter(({ name }) => name === this.#name)
      for (const device of own) await this.#deleteDevice(device.id)
      left = []
      return own.length === 0 ? 'there was nothing to remove' : `removed ${this.#name} and its readings`
    }).catch(() => undefined)
    return left
  }

  get #own(): Identity {
    if (this.#device === undefined) throw new SimulationError('There is no device.')
    return this.#device
  }

  get #connection(): MqttDevice {
    if (this.#mqtt === undefined) throw new SimulationError('There is no connection.')
    return this.#mqtt
  }

  #brokerOf(credentials: Credentials): string {
    const address = brokerUrl(credentials, this.#options.url.startsWith('https:'))
    if (address === undefined) throw new SimulationError('The server has no broker: use --http-only.')
    return address
  }

  /** Does a step and reports it. @throws {StepFailed} when it failed; it is reported then, too. */
  async #step<T>(name: string, work: (note: (detail: string) => void) => Promise<T>): Promise<T> {
    const began = this.#timers.now()
    this.#deadline = began + this.#options.stepMs
    let detail = ''
    const end = (ok: boolean, sentence: string) => {
      const step = { name, ms: Math.round(this.#timers.now() - began), ok, detail: sentence }
      this.#steps.push(step)
      this.#options.onStep(step)
    }
    try {
      const result = await work((text) => {
        detail = text
      })
      end(true, typeof result === 'string' ? result : detail)
      return result
    } catch (error) {
      const reason = error instanceof GaveUp ? this.#giveUpSentence(error.message) : messageOf(error)
      end(false, reason)
      throw new StepFailed(reason)
    }
  }

  #giveUpSentence(reason: string): string {
    const ended = this.#isInterrupted ? 'Ctrl-C' : `${this.#options.stepMs / 1000} s`
    return `Ended after ${ended}: ${reason}.`
  }

  get #isInterrupted(): boolean {
    return this.#options.signal.aborted && !this.#isCleaningUp
  }

  #isOver(): boolean {
    return this.#isInterrupted || this.#timers.now() > this.#deadline
  }

  /** Looks again and again. @throws {GaveUp} with `otherwise` when the time of the step is over. */
  async #until(otherwise: string, look: () => Promise<boolean>): Promise<void> {
    while (!(await look())) {
      if (this.#isOver()) throw new GaveUp(otherwise)
      await this.#timers.pause(lookEveryMs)
    }
  }

  /** Waits for work on the connection. @throws {GaveUp} when the time is over or the connection ends before. */
  async #whileConnected(work: Promise<void>, otherwise: string): Promise<void> {
    const state = { done: false, ended: false }
    const worked = work.then(() => {
      state.done = true
    })
    const ended = this.#connection.ended.then(() => {
      state.ended = true
    })
    await this.#until(otherwise, async () => {
      await Promise.race([worked, ended, this.#timers.pause(lookEveryMs)])
      if (state.ended && !state.done) throw new GaveUp(`${otherwise}, and the broker ended the connection`)
      return state.done
    })
  }

  #request(path: string, { method = 'GET', body, as = 'admin' }: Asked = {}): Promise<Answer> {
    const { url, adminToken } = this.#options
    const headers = {
      ...(as === 'admin' ? { Authorization: `Bearer ${adminToken}` } : { 'X-API-Key': this.#own.apiKey }),
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
    }
    const request = { method, headers, ...(body !== undefined && { body }) }
    return this.#client.request(`${url}${path}`, request, { over: () => this.#isOver(), maxLost })
  }

  /** The body of an answer. @throws {SimulationError} for an unexpected status. */
  async #ask(path: string, { expect = 200, ...asked }: Asked & { expect?: number } = {}): Promise<Json> {
    const answer = await this.#request(path, asked)
    if (answer.status !== expect || typeof answer.body !== 'object' || answer.body === null)
      throw new SimulationError(`${asked.method ?? 'GET'} ${path} answered ${describe(answer)}`)
    return answer.body as Json
  }
}
