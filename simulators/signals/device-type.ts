/** What a type of device is: the fields that it measures, how, and the commands that it knows. */
import { noise, seedOf, uniform } from './random.ts'
import { hourMs, type Site } from './site.ts'

export type Value = number | boolean | string
export type Values = Readonly<Record<string, Value>>

/** What a field may be: a number within bounds, a yes or no, or one of some words. */
export type FieldKind =
  | { readonly unit: string; readonly min: number; readonly max: number }
  | 'boolean'
  | readonly string[]

/** Where a device is; with it, every measurement is a function of time and state. */
export interface Place {
  /** Of the device: two devices of one place measure different values. */
  readonly seed: number
  readonly site: Site
}

/** The state of a device between two measurements. JSON, never changed in place. */
export interface State {
  /** Time of the last measurement, ms since the epoch. */
  readonly at: number
}

export interface Measurement<S extends State> {
  readonly values: Values
  readonly state: S
}

/** The parameters of a command, as they come. */
export type Params = Readonly<Record<string, unknown>>

export interface DeviceType<S extends State = State> {
  readonly name: string
  /** For people, a noun phrase. */
  readonly description: string
  readonly fields: Readonly<Record<string, FieldKind>>
  /** The state of a new device. */
  start(place: Place, at: number): S
  /**
   * One measurement; pure.
   * @param at ms since the epoch, not before `state.at`.
   */
  measure(place: Place, at: number, state: S): Measurement<S>
  /** What commands do to the state; a text says why a command failed. */
  readonly commands?: Readonly<Record<string, (state: S, params: Params) => S | string>>
}

/** Checks that a type is complete, and forgets its state's shape, which only the type itself knows. */
export const defineType = <S extends State>(type: DeviceType<S>): DeviceType => type as unknown as DeviceType

/** `+ 0` turns -0 into 0, because JSON has no -0. */
export const round = (value: number, digits: number): number => Number(value.toFixed(digits)) + 0

export const clamp = (value: number, min: number, max: number): number => Math.min(max, Math.max(min, value))

/**
 * A quantity that follows its target slowly, such as the temperature of a machine.
 * @param lagMs time in which 63 % of the difference is gone.
 */
export const follow = (value: number, target: number, elapsedMs: number, lagMs: number): number =>
  target + (value - target) * Math.exp(-elapsedMs / lagMs)

const stream = { battery: seedOf('battery'), signal: seedOf('signal'), event: seedOf('event') }

/** Below this level, %, somebody replaces the battery. */
const emptyBattery = 3

/** The charge of a new device, %, 60 to 100. */
export const newBattery = (seed: number): number => 60 + 40 * uniform(seed, stream.battery)

/**
 * The charge after some time and one more message, %. A full battery lasts 200 days alone, or 40,000 messages.
 * An empty battery is replaced by a full one.
 */
export function drain(level: number, elapsedMs: number, messages = 1): number {
  const next = level - (elapsedMs / hourMs) * (100 / (200 * 24)) - messages * (100 / 40_000)
  return next < emptyBattery ? 100 : next
}

/** The strength of a radio signal, dBm, whole, -95 to -35: some places are better than others. */
export const signalAt = (seed: number, at: number): number =>
  Math.round(-65 + 20 * (2 * uniform(seed, stream.signal) - 1) + 10 * noise(seed ^ stream.signal, at, 90_000))

export const signalField: FieldKind = { unit: 'dBm', min: -95, max: -35 }
export const batteryField: FieldKind = { unit: '%', min: 0, max: 100 }

/** Events longer ago than this are not looked for, ms. */
const longestLookMs = 48 * hourMs

/** Whether something happens in a slot of time, such as a person who passes a door. */
export const happensAt = (seed: number, slot: number, probability: number): boolean =>
  uniform(seed ^ stream.event, slot) < probability

/** How often it happened between two times. @param probability for the slot that begins at a time. */
export function countBetween(
  seed: number,
  { from, to, slotMs }: { from: number; to: number; slotMs: number },
  probability: (at: number) => number,
): number {
  let count = 0
  const last = Math.floor(to / slotMs)
  for (let slot = Math.floor(Math.max(from, to - longestLookMs) / slotMs) + 1; slot <= last; slot++) {
    if (happensAt(seed, slot, probability(slot * slotMs))) count++
  }
  return count
}
