/**
 * Which keys a select of whole points names. InfluxDB gives a point a column for every key of the measurement that is named,
 * of whichever device it is: with hundreds of them, it is quicker to ask first which ones the device has.
 */
import { flux, fluxExpression } from '@influxdata/influxdb-client'
import type { TimeRange } from '../store.ts'
import { measurement } from './field-keys.ts'
import type { FluxReader } from './flux.ts'
import { anyOfKeys } from './key-patterns.ts'
import type { PointReader } from './points.ts'

/** How old the knowledge may become whether there are many keys, ms: only times of answers depend on it. */
const maxAgeMs = 300_000

const onlyKeys = fluxExpression('keep(columns: ["_field"])')

export class DeviceKeys {
  readonly #points: PointReader
  readonly #flux: FluxReader
  readonly #few: number
  #areFew = true
  /** Milliseconds of `performance.now()`. */
  #askedAt = Number.NEGATIVE_INFINITY

  /** @param few keys of all devices that a select may name without being slower than two queries. */
  constructor(points: PointReader, fluxReader: FluxReader, few: number) {
    this.#points = points
    this.#flux = fluxReader
    this.#few = few
  }

  /** Whether the measurement has so few keys that all may be named. @throws {AppError} UNAVAILABLE */
  async areFew(): Promise<boolean> {
    if (performance.now() - this.#askedAt < maxAgeMs) return this.#areFew
    let areFew = true
    await this.#points.read(
      [`SHOW FIELD KEYS FROM "${measurement}" LIMIT 1 OFFSET ${this.#few}`],
      (found) => {
        areFew &&= found.rows.length === 0
      },
    )
    this.#areFew = areFew
    this.#askedAt = performance.now()
    return areFew
  }

  /**
   * The keys to name for these points of a device.
   * @param all the pattern where the measurement has few keys. @param isWanted chooses among the keys of the device.
   * @returns undefined when the device has none.
   * @throws {AppError} UNAVAILABLE
   */
  async patternFor(
    deviceId: number,
    range: TimeRange,
    all: string,
    isWanted: (key: string) => boolean = () => true,
  ): Promise<string | undefined> {
    if (await this.areFew()) return all
    const points = this.#flux.points(range, deviceId)
    if (points === undefined) return undefined
    const keys = new Set<string>()
    await this.#flux.query(flux`${points} |> last() |> ${onlyKeys}`, (column) => {
      const key = String(column('_field'))
      if (isWanted(key)) keys.add(key)
    })
    return keys.size === 0 ? undefined : anyOfKeys([...keys])
  }
}
