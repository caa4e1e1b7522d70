/** The keys of an interactive simulation: add, stop, break and repair devices while the others go on. */
import { emitKeypressEvents, type Key } from 'node:readline'
import { number, search, select } from '@inquirer/prompts'
import { type Breakage, breakages, type SimulatedDevice } from './device.ts'
import type { Fleet } from './fleet.ts'
import { SimulationError } from './http-client.ts'
import { plural } from './report.ts'
import { deviceTypes } from './signals/device-types.ts'
import type { FleetView } from './view.ts'

const maxAdded = 1000
const shownDevices = 50

const breakageNames: Readonly<Record<Breakage, string>> = {
  sensor: 'the sensor: it repeats its last values',
  connection: 'the connection: the device keeps its readings',
  power: 'the power: the device does nothing',
}

const keys = ' a add   s stop   b break   r repair   q finish'

/** The user left a prompt with Ctrl-C. */
const isCancelled = (error: unknown) => error instanceof Error && error.name === 'ExitPromptError'

export class Controls {
  readonly #fleet: Fleet
  readonly #view: FleetView
  readonly #input: NodeJS.ReadStream
  #asking = false

  constructor(fleet: Fleet, view: FleetView, input: NodeJS.ReadStream) {
    this.#fleet = fleet
    this.#view = view
    this.#input = input
  }

  start(): void {
    this.#view.footer = ['', keys]
    emitKeypressEvents(this.#input)
    this.#listen()
  }

  stop(): void {
    this.#input.off('keypress', this.#onKey)
    this.#input.setRawMode(false)
    this.#input.pause()
  }

  #listen(): void {
    this.#input.setRawMode(true)
    this.#input.on('keypress', this.#onKey)
    this.#input.resume()
  }

  #onKey = (_: string, { name, ctrl }: Key): void => {
    // A terminal in raw mode turns Ctrl-C into a key.
    if (ctrl && name === 'c') process.kill(process.pid, 'SIGINT')
    else if (name === 'q') this.#fleet.stop()
    else if (this.#fleet.phase !== 'sending' || this.#asking) return
    else if (name === 'a') void this.#ask(() => this.#add())
    else if (name === 's') void this.#ask(() => this.#stop())
    else if (name === 'b') void this.#ask(() => this.#break())
    else if (name === 'r') void this.#ask(() => this.#repair())
  }

  /** Gives the terminal to a prompt, and takes it back. */
  async #ask(question: () => Promise<string>): Promise<void> {
    this.#asking = true
    this.#view.stop()
    this.stop()
    try {
      this.#view.message = await question()
    } catch (error) {
      if (error instanceof SimulationError) this.#view.message = error.message
      else if (!isCancelled(error)) throw error
    } finally {
      this.#asking = false
      if (this.#fleet.phase !== 'done') {
        this.#view.start()
        this.#listen()
      }
    }
  }

  async #add(): Promise<string> {
    const type = await select({
      message: 'Which devices?',
      choices: deviceTypes.map((value) => ({ name: value.description, value })),
    })
    const count = (await number({ message: 'How many?', default: 1, min: 1, max: maxAdded })) ?? 1
    const added = await this.#fleet.add(Array.from({ length: count }, () => type))
    return added.length === 1
      ? `${added[0]?.identity.name} is there.`
      : `${plural(added.length, 'device')} more.`
  }

  async #stop(): Promise<string> {
    const device = await this.#choose('Which device ends?', ({ status }) => status !== 'stopped')
    await this.#fleet.stopDevice(device)
    return `${device.identity.name} has ended.`
  }

  async #break(): Promise<string> {
    const isWhole = ({ status }: SimulatedDevice) => status !== 'stopped' && status !== 'broken'
    const device = await this.#choose('Which device breaks?', isWhole)
    const what = await select({
      message: 'What breaks?',
      choices: breakages.map((value) => ({ name: breakageNames[value], value })),
    })
    device.break(what)
    return `${device.identity.name} is broken: ${what}.`
  }

  async #repair(): Promise<string> {
    const isBroken = ({ status }: SimulatedDevice) => status === 'broken'
    if (!this.#fleet.devices.some(isBroken)) return 'No device is broken.'
    const device = await this.#choose('Which device is repaired?', isBroken)
    device.repair()
    return `${device.identity.name} is repaired.`
  }

  /** Finds a device by a part of its name. */
  #choose(message: string, wanted: (device: SimulatedDevice) => boolean): Promise<SimulatedDevice> {
    return search({
      message: `${message} Type a part of its name:`,
      source: (part = '') =>
        this.#fleet.devices
          .filter((device) => wanted(device) && device.identity.name.includes(part))
          .slice(0, shownDevices)
          .map((value) => ({ name: `${value.identity.name} (${value.status})`, value })),
    })
  }
}
