/** What a simulated device measures: slow random walks between plausible bounds. */

/** A number in [0, 1). */
export type Random = () => number

/** One measurement: °C, % relative humidity, hPa, % of the battery, dBm. */
export interface Values {
  readonly temperature: number
  readonly humidity: number
  readonly pressure: number
  readonly battery_level: number
  readonly signal_strength: number
}

export type Quantity = keyof Values

/** The unit of each quantity, for people. */
export const units: Readonly<Record<Quantity, string>> = {
  temperature: '°C',
  humidity: '%',
  pressure: 'hPa',
  battery_level: '%',
  signal_strength: 'dBm',
}

interface Walk {
  /** Where a device begins. */
  readonly start: readonly [from: number, to: number]
  readonly bounds: readonly [min: number, max: number]
  /** Smallest and largest change from one measurement to the next. */
  readonly step: readonly [down: number, up: number]
  readonly digits: number
}

const walks: Readonly<Record<Quantity, Walk>> = {
  temperature: { start: [18, 24], bounds: [-10, 45], step: [-0.15, 0.15], digits: 2 },
  humidity: { start: [35, 60], bounds: [10, 95], step: [-0.4, 0.4], digits: 1 },
  pressure: { start: [1005, 1020], bounds: [960, 1050], step: [-0.08, 0.08], digits: 2 },
  battery_level: { start: [70, 100], bounds: [0, 100], step: [-0.02, 0], digits: 2 },
  signal_strength: { start: [-70, -50], bounds: [-95, -30], step: [-1.5, 1.5], digits: 0 },
}

/** @returns the next measurement with each call; the same numbers from `random` give the same measurements. */
export function createSensor(random: Random = Math.random): () => Values {
  const between = ([from, to]: readonly [number, number]) => from + random() * (to - from)
  const quantity = ({ start, bounds: [min, max], step, digits }: Walk) => {
    let value = between(start)
    return () => {
      value = Math.min(max, Math.max(min, value + between(step)))
      // `+ 0` turns a rounded -0 into 0, which is what JSON makes of it.
      return Number(value.toFixed(digits)) + 0
    }
  }
  const temperature = quantity(walks.temperature)
  const humidity = quantity(walks.humidity)
  const pressure = quantity(walks.pressure)
  const battery = quantity(walks.battery_level)
  const signal = quantity(walks.signal_strength)
  return () => ({
    temperature: temperature(),
    humidity: humidity(),
    pressure: pressure(),
    battery_level: battery(),
    signal_strength: signal(),
  })
}

/**
 * The clock of one device.
 * @returns milliseconds since the epoch, with each call later than the call before.
 */
export function createClock(now: () => number = Date.now): () => number {
  let last = Number.NEGATIVE_INFINITY
  return () => {
    last = Math.max(now(), last + 1)
    return last
  }
}
