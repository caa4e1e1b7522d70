/**
 * One command to a fleet of simulated devices: a tenth of them is offline at first, some never answer, some answer twice. On
 * request the server is killed with SIGKILL meanwhile, again and again.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { defaultTopics } from '../../lib/mqtt/topics.ts'
import { inParallel } from '../../simulators/enrolment.ts'
import { HttpClient } from '../../simulators/http-client.ts'
import { HttpUplink } from '../../simulators/http-uplink.ts'
import { MqttUplink } from '../../simulators/mqtt-uplink.ts'
import { TimerQueue } from '../../simulators/timer-queue.ts'
import { freePort } from '../support/free-port.ts'
import { type Answer, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { behaviourOf, CommandDevice } from './device.ts'
import { judge, type Observed, type Verdict } from './verdict.ts'

export interface ShowOptions {
  readonly devices: number
  /** How often the server is killed while the command spreads. */
  readonly kills: number
  /** How long the devices have, s. */
  readonly patienceS: number
  progress(text: string): void
}

const adminToken = 'admin-token-of-the-command-show'
/** Devices get the command within this time where nothing is killed, s. */
const spreadS = 3
/** Time between two kills, s: from the start of the server to its end. */
const aliveS = { min: 0.3, max: 1.2 } as const

class CommandShow {
  readonly #options: ShowOptions
  readonly #timers = new TimerQueue()
  readonly #client = new HttpClient(this.#timers)
  readonly #settings: Readonly<Record<string, string>>
  #server: StandaloneServer
  #devices: readonly CommandDevice[] = []
  #fleetCommand = ''

  static async run(options: ShowOptions): Promise<Verdict> {
    const folder = await temporaryFolder()
    // The ports stay the same, so that the devices find the server again.
    const settings = {
      DATA_DIR: folder.path,
      ADMIN_TOKEN: adminToken,
      PORT: String(await freePort()),
      MQTT_PORT: String(await freePort()),
      RATE_LIMIT_PER_MINUTE: '0',
      RATE_LIMIT_IP_PER_MINUTE: '0',
      LOG_LEVEL: 'warn',
    }
    const show = new CommandShow(options, settings, await startStandaloneServer({ settings }))
    try {
      return await show.#run()
    } finally {
      await show.#end()
      await folder.remove()
    }
  }

  private constructor(
    options: ShowOptions,
    settings: Readonly<Record<string, string>>,
    server: StandaloneServer,
  ) {
    this.#options = options
    this.#settings = settings
    this.#server = server
  }

  async #run(): Promise<Verdict> {
    const { progress, kills, devices } = this.#options
    this.#devices = await this.#makeDevices()
    const late = this.#devices.filter(({ behaviour }) => behaviour.startsLate)
    await this.#start(this.#devices.filter(({ behaviour }) => !behaviour.startsLate))
    progress(`${devices - late.length} devices are connected`)
    const seconds = kills === 0 ? spreadS : kills * 2
    const { body } = await this.#asAdmin('POST', '/api/v1/admin/fleet/commands', {
      command: 'ping',
      params: {},
      ttl_s: 3600,
      rate_per_s: Math.max(1, Math.ceil(devices / seconds)),
      filter: { device_type: 'show' },
    })
    this.#fleetCommand = body.fleet_command_id
    const lateStarted = sleep(1000 * Math.min(seconds / 2, 10)).then(() => this.#start(late))
    for (let n = 1; n <= kills; n++) {
      await sleep(1000 * (aliveS.min + Math.random() * (aliveS.max - aliveS.min)))
      await this.#kill()
      progress(`kill ${n} of ${kills}: ${JSON.stringify((await this.#fleet()).progress)}`)
    }
    await lateStarted
    progress('every device is connected')
    await this.#allAnswered()
    const observed = await this.#observe()
    // What nobody answered is not open for ever: the operator ends it.
    await this.#asAdmin('DELETE', `/api/v1/admin/fleet/commands/${this.#fleetCommand}`)
    return judge(observed, await this.#observe(), await this.#fleet())
  }

  async #makeDevices(): Promise<CommandDevice[]> {
    const rows = Array.from({ length: this.#options.devices }, (_, i) => ({
      name: `show-${i}`,
      device_type: 'show',
    }))
    const { body } = await this.#server.request('POST', '/api/v1/admin/devices/import', {
      headers: { Authorization: `Bearer ${adminToken}`, 'Content-Type': 'application/x-ndjson' },
      body: rows.map((row) => JSON.stringify(row)).join('\n'),
    })
    const keys = body.keys as { id: number; name: string; api_key: string }[]
    const broker = { url: this.#server.mqttUrl, clientId: 'show-{id}', topicRoot: defaultTopics.root }
    return keys.map(({ id, name, api_key: apiKey }, i) => {
      const behaviour = behaviourOf(i)
      const identity = { id, name, apiKey }
      return new CommandDevice(id, behaviour, this.#timers, Math.max(1000, 5 * rows.length), (events) =>
        behaviour.over === 'HTTP'
          ? new HttpUplink(this.#client, this.#server.httpUrl, identity, events)
          : new MqttUplink(
              { ...broker, version: behaviour.over === 'MQTT 5' ? 5 : 4 },
              identity,
              this.#timers,
              events,
            ),
      )
    })
  }

  #start(devices: readonly CommandDevice[]): Promise<unknown> {
    return Promise.all(devices.map((device) => device.start()))
  }

  async #kill(): Promise<void> {
    this.#server.kill('SIGKILL')
    await this.#server.ended
    this.#server = await startStandaloneServer({ settings: this.#settings })
  }

  async #asAdmin(method: string, path: string, body?: unknown): Promise<Answer> {
    const headers = { Authorization: `Bearer ${adminToken}` }
    const answer = await this.#server.request(method, path, { headers, body })
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`)
    return answer
  }

  async #fleet() {
    const { body } = await this.#asAdmin('GET', `/api/v1/admin/fleet/commands/${this.#fleetCommand}`)
    return body.fleet_command as { status: string; progress: Record<string, number> }
  }

  /** Waits until every device that answers has answered, and the rest has the command. */
  async #allAnswered(): Promise<void> {
    const silent = this.#devices.filter(({ behaviour }) => behaviour.answers === 'never').length
    const deadline = performance.now() + 1000 * this.#options.patienceS
    let shown = ''
    while (performance.now() < deadline) {
      const { progress } = await this.#fleet()
      const now = JSON.stringify(progress)
      if (now !== shown) this.#options.progress(now)
      shown = now
      if (progress.succeeded === this.#devices.length - silent && progress.sent === silent) break
      await sleep(250)
    }
    // A device that gets the command again after its answer needs a moment to do so.
    await sleep(1500)
  }

  /** What the server says of each device, and what the device has seen. */
  async #observe(): Promise<Observed[]> {
    const observed: Observed[] = []
    await inParallel(this.#devices, async (device) => {
      const { body } = await this.#asAdmin('GET', `/api/v1/admin/devices/${device.id}/commands`)
      const commands = body.commands as Observed['commands']
      observed.push({ device, commands })
    })
    return observed
  }

  async #end(): Promise<void> {
    await inParallel(this.#devices, (device) => device.close().catch(() => undefined))
    this.#timers.stop()
    this.#client.close()
    await this.#server.stop()
  }
}

/** Runs the show on a server of its own. */
export const runCommandShow = (options: ShowOptions): Promise<Verdict> => CommandShow.run(options)
