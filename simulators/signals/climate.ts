/** Devices that measure air: temperature sensors, air quality monitors, thermostats. */
import {
  batteryField,
  clamp,
  defineType,
  drain,
  follow,
  newBattery,
  type Place,
  round,
  type State,
  signalAt,
  signalField,
} from './device-type.ts'
import { between, noise, seedOf } from './random.ts'
import { activityAt, airPressureAt, hourMs, outdoorTemperatureAt, type Site, trafficAt } from './site.ts'

const stream = {
  room: seedOf('room'),
  humidity: seedOf('humidity'),
  co2: seedOf('co2'),
  dust: seedOf('dust'),
  gas: seedOf('gas'),
}

const minuteMs = 60_000

/** °C in a room: between the weather and what people want, warmer where many are. */
const indoorTemperature = ({ seed, site }: Place, at: number): number => {
  const comfort = site.kind === 'factory' ? 19 : 21
  const leak = site.kind === 'factory' ? 0.3 : 0.12
  return (
    comfort +
    leak * (outdoorTemperatureAt(site, at) - 15) +
    1.5 * activityAt(site, at) +
    between(-1.5, 1.5, seed, stream.room) +
    0.3 * noise(seed ^ stream.room, at, 15 * minuteMs)
  )
}

/** % relative humidity: warmer air that holds the same water is drier. */
const humidityAt = ({ seed, site }: Place, at: number, temperature: number): number =>
  clamp(
    52 -
      2.4 * (temperature - 20) +
      4 * activityAt(site, at) +
      2 * noise(seed ^ stream.humidity, at, 3 * hourMs),
    8,
    98,
  )

interface Powered extends State {
  readonly battery: number
}

export const temperature = defineType<Powered>({
  name: 'temperature',
  description: 'Temperature and humidity sensor',
  fields: {
    temperature: { unit: '°C', min: -15, max: 45 },
    humidity: { unit: '%', min: 0, max: 100 },
    pressure: { unit: 'hPa', min: 960, max: 1060 },
    battery_level: batteryField,
    signal_strength: signalField,
  },
  start: ({ seed }, at) => ({ at, battery: newBattery(seed) }),
  measure(place, at, { at: before, battery: level }) {
    const degrees = indoorTemperature(place, at)
    const battery = drain(level, at - before)
    return {
      values: {
        temperature: round(degrees, 2),
        humidity: round(humidityAt(place, at, degrees), 1),
        pressure: round(airPressureAt(place.site, at), 2),
        battery_level: round(battery, 2),
        signal_strength: signalAt(place.seed, at),
      },
      state: { at, battery },
    }
  },
})

interface Room extends State {
  /** Parts per million. */
  readonly co2: number
}

const freshAir = 420

/** ppm that a room reaches in time with the people who are in it. */
const co2Target = (site: Site, at: number): number => freshAir + 950 * activityAt(site, at)

const gradeOf = (co2: number, dust: number): string => {
  if (co2 > 1400 || dust > 55) return 'poor'
  return co2 > 900 || dust > 20 ? 'moderate' : 'good'
}

export const airQuality = defineType<Room>({
  name: 'air_quality',
  description: 'Air quality monitor',
  fields: {
    co2: { unit: 'ppm', min: 380, max: 2000 },
    voc: { unit: 'ppb', min: 0, max: 1500 },
    pm2_5: { unit: 'µg/m³', min: 0, max: 150 },
    pm10: { unit: 'µg/m³', min: 0, max: 250 },
    temperature: { unit: '°C', min: -15, max: 45 },
    humidity: { unit: '%', min: 0, max: 100 },
    air_quality: ['good', 'moderate', 'poor'],
  },
  start: ({ site }, at) => ({ at, co2: co2Target(site, at) }),
  measure(place, at, { at: before, co2: last }) {
    const { seed, site } = place
    const co2 = follow(last, co2Target(site, at), at - before, 25 * minuteMs)
    const shown = Math.round(co2 + 12 * noise(seed ^ stream.co2, at, minuteMs))
    const machines = site.kind === 'factory' ? 18 * activityAt(site, at) : 0
    const dust = 6 + 10 * trafficAt(at) + machines + 5 * noise(seed ^ stream.dust, at, hourMs)
    const gas = 60 + 0.35 * (co2 - freshAir) + machines * 8 + 30 * noise(seed ^ stream.gas, at, hourMs)
    const degrees = indoorTemperature(place, at)
    return {
      values: {
        co2: shown,
        voc: Math.round(clamp(gas, 0, 1500)),
        pm2_5: round(dust, 1),
        pm10: round(1.5 * dust, 1),
        temperature: round(degrees, 2),
        humidity: round(humidityAt(place, at, degrees), 1),
        air_quality: gradeOf(shown, dust),
      },
      state: { at, co2 },
    }
  },
})

interface Heating extends State {
  readonly temperature: number
  readonly heating: boolean
  /** °C that somebody asked for; undefined: the programme of the day. */
  readonly wanted?: number
  readonly mode: 'auto' | 'off'
}

/** °C by the programme: lower while nobody is there. */
const programme = (site: Site, at: number): number => (activityAt(site, at) > 0.2 ? 21 : 18)
const lowestTarget = 5
const highestTarget = 30

export const thermostat = defineType<Heating>({
  name: 'thermostat',
  description: 'Room thermostat',
  fields: {
    temperature: { unit: '°C', min: -15, max: 45 },
    target_temperature: { unit: '°C', min: lowestTarget, max: highestTarget },
    humidity: { unit: '%', min: 0, max: 100 },
    heating: 'boolean',
    valve_position: { unit: '%', min: 0, max: 100 },
    mode: ['auto', 'off'],
  },
  start: (place, at) => ({ at, temperature: indoorTemperature(place, at), heating: false, mode: 'auto' }),
  measure(place, at, state) {
    const target = state.wanted ?? programme(place.site, at)
    const outside = outdoorTemperatureAt(place.site, at)
    // The heater can hold 22 °C above the weather; without it the room goes half the way to the weather.
    const limit = state.heating ? Math.max(outside + 22, target + 2) : (outside + 18) / 2
    const reached = follow(state.temperature, limit, at - state.at, 3 * hourMs)
    // Between two measurements the heater stops when the room is warm enough.
    const degrees = state.heating ? Math.min(reached, Math.max(state.temperature, target + 0.6)) : reached
    // Half a degree of tolerance keeps the valve from moving all the time.
    const heating =
      state.mode === 'auto' && (degrees < target - 0.5 || (state.heating && degrees < target + 0.5))
    return {
      values: {
        temperature: round(degrees, 2),
        target_temperature: target,
        humidity: round(humidityAt(place, at, degrees), 1),
        heating,
        valve_position: heating ? Math.round(clamp(30 + 35 * (target + 0.5 - degrees), 10, 100)) : 0,
        mode: state.mode,
      },
      state: { ...state, at, temperature: degrees, heating },
    }
  },
  commands: {
    set_target: (state, { temperature: wanted }) =>
      typeof wanted === 'number' && wanted >= lowestTarget && wanted <= highestTarget
        ? { ...state, wanted }
        : `temperature must be a number from ${lowestTarget} to ${highestTarget}`,
    set_mode: (state, { mode }) =>
      mode === 'auto' || mode === 'off' ? { ...state, mode } : 'mode must be auto or off',
  },
})
