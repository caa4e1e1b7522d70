/** The emulated functions: serverless-offline, started anew for every build and after every crash. */
import { Offline, type OfflineOptions } from './offline.ts'

export interface EmulatorOptions extends OfflineOptions {
  /** Called whenever the functions are served. @param first true for the first start. */
  onServing(first: boolean): Promise<void> | void
  /** Called when serverless-offline cannot be started. */
  onFailed(error: Error): void
}

export class Emulator {
  readonly #options: EmulatorOptions
  #offline: Offline | undefined
  #stopping = false
  #first = true
  /** The number of the latest restart: earlier ones that still wait are left out. */
  #latest = 0
  #restarts: Promise<void> = Promise.resolve()

  constructor(options: EmulatorOptions) {
    this.#options = options
  }

  /** Starts the functions of the last build. Restarts run one after the other; those asked for meanwhile become one. */
  restart(): void {
    if (this.#stopping) return
    this.#latest += 1
    const turn = this.#latest
    this.#restarts = this.#restarts
      .then(() => (turn === this.#latest ? this.#startAnew() : undefined))
      .catch((error: Error) => this.#options.onFailed(error))
  }

  async #startAnew(): Promise<void> {
    await this.#offline?.stop()
    if (this.#stopping) return
    const offline = new Offline(this.#options)
    this.#offline = offline
    await offline.ready()
    if (this.#stopping) return
    void this.#restartAfterCrash(offline)
    const first = this.#first
    this.#first = false
    await this.#options.onServing(first)
  }

  /** An error that no handler catches ends serverless-offline, where Lambda would start a new container. */
  async #restartAfterCrash(offline: Offline): Promise<void> {
    const died = await offline.died()
    if (!died || this.#stopping) return
    process.stderr.write(
      'An uncaught error of a function has ended serverless-offline: it is started again.\n',
    )
    this.restart()
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#offline?.stop()
  }
}
