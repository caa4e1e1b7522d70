/** Devices that watch people: door locks, cameras, motion sensors. */
import {
  batteryField,
  clamp,
  countBetween,
  defineType,
  drain,
  happensAt,
  newBattery,
  type Place,
  round,
  type State,
  signalAt,
  signalField,
} from './device-type.ts'
import { between, noise, pick, seedOf } from './random.ts'
import { activityAt, daylightAt, hourMs, type Site } from './site.ts'

const stream = {
  door: seedOf('door'),
  who: seedOf('who'),
  motion: seedOf('motion'),
  camera: seedOf('camera'),
}
const minuteMs = 60_000
/** A person is in front of a sensor for about this long. */
const motionSlotMs = 20_000

const doorUse = (site: Site, at: number): number => 0.35 * activityAt(site, at)
const passes = ({ seed, site }: Place, at: number): boolean =>
  happensAt(seed ^ stream.motion, Math.floor(at / motionSlotMs), 0.75 * activityAt(site, at))

interface Lock extends State {
  readonly battery: number
  readonly accesses: number
  /** What an operator ordered; undefined: the lock decides. */
  readonly ordered?: boolean
}

const methods = ['keypad', 'card', 'app', 'fingerprint'] as const

export const doorLock = defineType<Lock>({
  name: 'door_lock',
  description: 'Door lock',
  fields: {
    locked: 'boolean',
    door_open: 'boolean',
    access_count: { unit: '', min: 0, max: 1e9 },
    last_method: [...methods, 'remote', 'none'],
    tamper: 'boolean',
    battery_level: batteryField,
    signal_strength: signalField,
  },
  start: ({ seed }, at) => ({ at, battery: newBattery(seed), accesses: 0 }),
  measure(place, at, state) {
    const { seed, site } = place
    const slots = { from: state.at, to: at, slotMs: minuteMs }
    const opened = countBetween(seed ^ stream.door, slots, (time) => doorUse(site, time))
    const accesses = state.accesses + opened
    const minute = Math.floor(at / minuteMs)
    const used = happensAt(seed ^ stream.door, minute, doorUse(site, minute * minuteMs))
    const open = used && at % minuteMs < 15_000 && state.ordered !== true
    const battery = drain(state.battery, at - state.at, 1 + 4 * opened)
    const method = accesses === 0 ? 'none' : pick(methods, seed, stream.who, accesses)
    return {
      values: {
        locked: state.ordered ?? !used,
        door_open: open,
        access_count: accesses,
        last_method: state.ordered === undefined ? method : 'remote',
        tamper: happensAt(seed ^ stream.who, Math.floor(at / hourMs), 0.0005),
        battery_level: round(battery, 2),
        signal_strength: signalAt(seed, at),
      },
      state: { ...state, at, battery, accesses },
    }
  },
  commands: {
    lock: (state) => ({ ...state, ordered: true }),
    unlock: (state) => ({ ...state, ordered: false }),
    automatic: ({ at, battery, accesses }) => ({ at, battery, accesses }),
  },
})

interface Camera extends State {
  /** % of the storage. */
  readonly storage: number
  readonly ordered?: boolean
}

export const camera = defineType<Camera>({
  name: 'camera',
  description: 'Camera',
  fields: {
    recording: 'boolean',
    motion_detected: 'boolean',
    night_vision: 'boolean',
    frame_rate: { unit: 'fps', min: 0, max: 30 },
    bitrate: { unit: 'kbit/s', min: 0, max: 12_000 },
    storage_used: { unit: '%', min: 0, max: 100 },
    cpu_temperature: { unit: '°C', min: 20, max: 90 },
  },
  start: ({ seed }, at) => ({ at, storage: between(10, 60, seed, stream.camera) }),
  measure(place, at, state) {
    const motion = passes(place, at)
    const recording = state.ordered ?? motion
    const night = daylightAt(at) < 0.15
    const rate = recording ? (night ? 15 : 25) : 5
    const wobble = noise(place.seed ^ stream.camera, at, minuteMs)
    // Four days of recording fill the storage; at 95 % the camera deletes its oldest films.
    const filled = state.storage + (recording ? ((at - state.at) / (96 * hourMs)) * 100 : 0)
    const storage = filled > 95 ? 70 : filled
    return {
      values: {
        recording,
        motion_detected: motion,
        night_vision: night,
        frame_rate: rate,
        bitrate: Math.round(clamp(rate * (motion ? 190 : 90) * (1 + 0.2 * wobble), 0, 12_000)),
        storage_used: round(storage, 2),
        cpu_temperature: round(42 + 0.5 * rate + 3 * wobble, 1),
      },
      state: { ...state, at, storage },
    }
  },
  commands: {
    start_recording: (state) => ({ ...state, ordered: true }),
    stop_recording: (state) => ({ ...state, ordered: false }),
    automatic: ({ at, storage }) => ({ at, storage }),
  },
})

interface Motion extends State {
  readonly battery: number
  readonly detections: number
}

export const motion = defineType<Motion>({
  name: 'motion',
  description: 'Motion and light sensor',
  fields: {
    motion: 'boolean',
    detections: { unit: '', min: 0, max: 1e9 },
    illuminance: { unit: 'lx', min: 0, max: 2000 },
    battery_level: batteryField,
    signal_strength: signalField,
  },
  start: ({ seed }, at) => ({ at, battery: newBattery(seed), detections: 0 }),
  measure(place, at, state) {
    const { seed, site } = place
    const seen = passes(place, at)
    const slots = { from: state.at, to: at, slotMs: motionSlotMs }
    const detected = countBetween(seed ^ stream.motion, slots, (time) => 0.75 * activityAt(site, time))
    const battery = drain(state.battery, at - state.at, 1 + 0.5 * detected)
    const lamps = activityAt(site, at) > 0.1 ? 320 : 5
    const light = lamps + 700 * daylightAt(at) * (1 + 0.2 * noise(seed ^ stream.motion, at, hourMs))
    return {
      values: {
        motion: seen,
        detections: state.detections + detected,
        illuminance: Math.round(clamp(light, 0, 2000)),
        battery_level: round(battery, 2),
        signal_strength: signalAt(seed, at),
      },
      state: { at, battery, detections: state.detections + detected },
    }
  },
})
