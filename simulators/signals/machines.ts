/** Devices on machines: smart meters, industrial machines, vehicle trackers. */
import {
  batteryField,
  clamp,
  defineType,
  follow,
  happensAt,
  type Place,
  round,
  type State,
  signalAt,
  signalField,
} from './device-type.ts'
import { between, noise, seedOf } from './random.ts'
import { activityAt, hourMs, outdoorTemperatureAt, trafficAt } from './site.ts'

const stream = {
  meter: seedOf('meter'),
  appliance: seedOf('appliance'),
  grid: seedOf('grid'),
  machine: seedOf('machine'),
  route: seedOf('route'),
}
const minuteMs = 60_000

interface Meter extends State {
  readonly energy: number
}

/** W of a full load. */
const connectedLoad = { home: 3200, office: 14_000, factory: 60_000 } as const

/** W: a base load, what people switch on, heating or cooling by the weather, and single large appliances. */
const powerAt = ({ seed, site }: Place, at: number): number => {
  const full = connectedLoad[site.kind]
  const climate = Math.min(1, Math.abs(outdoorTemperatureAt(site, at) - 18) / 25)
  const appliance = happensAt(
    seed ^ stream.appliance,
    Math.floor(at / (10 * minuteMs)),
    0.4 * activityAt(site, at),
  )
  return (
    full *
    (0.08 +
      0.5 * activityAt(site, at) +
      0.15 * climate +
      (appliance ? 0.2 : 0) +
      0.05 * noise(seed ^ stream.meter, at, minuteMs))
  )
}

export const smartMeter = defineType<Meter>({
  name: 'smart_meter',
  description: 'Electricity meter',
  fields: {
    power: { unit: 'W', min: 0, max: 70_000 },
    energy: { unit: 'kWh', min: 0, max: 1e9 },
    voltage: { unit: 'V', min: 215, max: 245 },
    current: { unit: 'A', min: 0, max: 360 },
    frequency: { unit: 'Hz', min: 49.8, max: 50.2 },
    power_factor: { unit: '', min: 0.8, max: 1 },
  },
  start: ({ seed }, at) => ({ at, energy: between(500, 20_000, seed, stream.meter) }),
  measure(place, at, state) {
    const { seed, site } = place
    const power = powerAt(place, at)
    const share = power / connectedLoad[site.kind]
    const voltage = 233 - 6 * share + 3 * noise(site.seed ^ stream.grid, at, 5 * minuteMs)
    const factor = 0.9 + 0.06 * share + 0.02 * noise(seed ^ stream.grid, at, 5 * minuteMs)
    // The energy of the time since the last reading, by the mean of both powers.
    const energy =
      state.energy + (((powerAt(place, state.at) + power) / 2) * ((at - state.at) / hourMs)) / 1000
    return {
      values: {
        power: round(power, 1),
        energy: round(energy, 4),
        voltage: round(voltage, 1),
        current: round(power / (voltage * factor), 2),
        frequency: round(50 + 0.1 * noise(site.seed ^ stream.grid, at, minuteMs), 3),
        power_factor: round(factor, 3),
      },
      state: { at, energy },
    }
  },
})

interface Machine extends State {
  readonly temperature: number
  readonly parts: number
  /** Running time since the last maintenance, h. */
  readonly hours: number
  readonly stopped: boolean
}

const partsPerHour = 240
/** Running time after which a machine is maintained, h. */
const maintenanceHours = 500

export const industrial = defineType<Machine>({
  name: 'industrial',
  description: 'Industrial machine',
  fields: {
    state: ['running', 'idle', 'stopped'],
    load: { unit: '%', min: 0, max: 100 },
    rpm: { unit: '1/min', min: 0, max: 3100 },
    temperature: { unit: '°C', min: -10, max: 95 },
    vibration: { unit: 'mm/s', min: 0, max: 12 },
    pressure: { unit: 'bar', min: 0, max: 10 },
    power: { unit: 'kW', min: 0, max: 30 },
    parts_count: { unit: '', min: 0, max: 1e9 },
  },
  start: ({ seed }, at) => ({
    at,
    temperature: 25,
    parts: 0,
    hours: between(0, maintenanceHours, seed, stream.machine),
    stopped: false,
  }),
  measure(place, at, state) {
    const { seed, site } = place
    const busy = activityAt(site, at)
    const cycle = 0.15 * noise(seed ^ stream.machine, at, 4 * minuteMs)
    const load = state.stopped || busy < 0.12 ? 0 : clamp(busy * 0.85 + cycle, 0.05, 1)
    const elapsed = at - state.at
    const running = load > 0
    const degrees = follow(state.temperature, 24 + 48 * load, elapsed, 12 * minuteMs)
    const worked = state.hours + (running ? elapsed / hourMs : 0)
    const hours = worked > maintenanceHours ? 0 : worked
    const wear = hours / maintenanceHours
    const shake = (1 + 0.15 * noise(seed ^ stream.machine, at, 7000)) * (0.8 + 4.5 * load + 2.5 * wear * load)
    const parts = state.parts + (elapsed / hourMs) * partsPerHour * load
    return {
      values: {
        state: state.stopped ? 'stopped' : running ? 'running' : 'idle',
        load: round(100 * load, 1),
        rpm: running ? Math.round(900 + 2000 * load + 40 * cycle) : 0,
        temperature: round(degrees, 2),
        vibration: running ? round(clamp(shake, 0, 12), 3) : round(0.05 + 0.02 * (1 + cycle), 3),
        pressure: round(running ? 4 + 3 * load + cycle : 1, 2),
        power: round(running ? 3 + 22 * load : 0.4, 2),
        parts_count: Math.floor(parts),
      },
      state: { ...state, at, temperature: degrees, parts, hours },
    }
  },
  commands: {
    start: (state) => ({ ...state, stopped: false }),
    stop: (state) => ({ ...state, stopped: true }),
  },
})

interface Vehicle extends State {
  /** Driven on the round trip since the start, m. */
  readonly distance: number
  readonly battery: number
}

/** The middle of the round trip, and its radius in m. */
const centre = { latitude: 48.137, longitude: 11.575 }
const radius = 5000
const roundTrip = 2 * Math.PI * radius
const metresPerDegree = 111_320

/** Where a vehicle is after a distance: a circle with bends, each vehicle with another start. */
const positionAt = (seed: number, distance: number) => {
  const angle = 2 * Math.PI * (distance / roundTrip + between(0, 1, seed, stream.route))
  const away = radius * (1 + 0.12 * Math.sin(5 * angle))
  return {
    latitude: centre.latitude + (away * Math.cos(angle)) / metresPerDegree,
    longitude:
      centre.longitude +
      (away * Math.sin(angle)) / (metresPerDegree * Math.cos((centre.latitude * Math.PI) / 180)),
  }
}

/** km/h: vehicles drive by day, stop at lights, and are slow in rush hours. */
const speedAt = (seed: number, at: number): number => {
  const driving = happensAt(
    seed ^ stream.route,
    Math.floor(at / (15 * minuteMs)),
    0.15 + 0.75 * trafficAt(at),
  )
  const light = noise(seed ^ stream.route, at, 40_000) < -0.55
  if (!driving || light) return 0
  const free = 58 + 22 * noise(seed ^ stream.route, at, 3 * minuteMs)
  return free * (1 - 0.6 * trafficAt(at))
}

export const tracker = defineType<Vehicle>({
  name: 'tracker',
  description: 'Vehicle tracker',
  fields: {
    latitude: { unit: '°', min: 48, max: 48.3 },
    longitude: { unit: '°', min: 11.4, max: 11.75 },
    speed: { unit: 'km/h', min: 0, max: 90 },
    heading: { unit: '°', min: 0, max: 360 },
    moving: 'boolean',
    satellites: { unit: '', min: 4, max: 14 },
    odometer: { unit: 'km', min: 0, max: 1e9 },
    battery_level: batteryField,
    signal_strength: signalField,
  },
  start: ({ seed }, at) => ({ at, distance: 0, battery: between(60, 100, seed, stream.route, 1) }),
  measure({ seed }, at, state) {
    const speed = speedAt(seed, at)
    const hours = (at - state.at) / hourMs
    const distance = state.distance + 1000 * hours * ((speedAt(seed, state.at) + speed) / 2)
    const here = positionAt(seed, distance)
    const next = positionAt(seed, distance + 10)
    const east = (next.longitude - here.longitude) * Math.cos((here.latitude * Math.PI) / 180)
    const heading = (Math.atan2(east, next.latitude - here.latitude) * 180) / Math.PI
    // A moving vehicle charges its tracker.
    const battery = clamp(state.battery + (speed > 0 ? 12 : -1.5) * hours, 5, 100)
    return {
      values: {
        latitude: round(here.latitude, 6),
        longitude: round(here.longitude, 6),
        speed: round(speed, 1),
        heading: round((heading + 360) % 360, 0),
        moving: speed > 0,
        satellites: Math.round(9 + 3 * noise(seed ^ stream.grid, at, minuteMs)),
        odometer: round(distance / 1000, 3),
        battery_level: round(battery, 2),
        signal_strength: signalAt(seed, at),
      },
      state: { at, distance, battery },
    }
  },
})
