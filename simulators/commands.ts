/** What simulated devices do with commands and with their configuration. */
import type { DeviceType, Params, State } from './signals/device-type.ts'

/** What a command wants of the device beside its state. */
export interface Effects {
  readonly state: State
  /** The device reads its sensors at once. */
  readonly readsNow?: boolean
  readonly reboots?: boolean
  readonly intervalS?: number
  readonly heartbeatS?: number
}

export type Execution =
  | { readonly succeeded: true; readonly effects: Effects; readonly result: unknown }
  | { readonly succeeded: false; readonly result: { readonly error: string } }

const shortestIntervalS = 0.1
const longestIntervalS = 86_400

const isInterval = (value: unknown): value is number =>
  typeof value === 'number' && value >= shortestIntervalS && value <= longestIntervalS

const failed = (error: string): Execution => ({ succeeded: false, result: { error } })

const paramsOf = (params: unknown): Params =>
  typeof params === 'object' && params !== null && !Array.isArray(params) ? (params as Params) : {}

/** Commands of every device. */
const common: Readonly<Record<string, (state: State, params: Params) => Execution>> = {
  ping: (state) => ({ succeeded: true, effects: { state }, result: { pong: true } }),
  read_now: (state) => ({ succeeded: true, effects: { state, readsNow: true }, result: {} }),
  reboot: (state) => ({ succeeded: true, effects: { state, reboots: true }, result: { restarting: true } }),
  set_interval: (state, { seconds }) =>
    isInterval(seconds)
      ? { succeeded: true, effects: { state, intervalS: seconds }, result: { seconds } }
      : failed(`seconds must be a number from ${shortestIntervalS} to ${longestIntervalS}`),
}

export const commonCommands: readonly string[] = Object.keys(common)

/** Runs a command: those of every device, and those of its type. Pure. */
export function execute(type: DeviceType, state: State, command: string, params: unknown): Execution {
  const given = paramsOf(params)
  const shared = Object.hasOwn(common, command) ? common[command] : undefined
  if (shared !== undefined) return shared(state, given)
  const own =
    type.commands !== undefined && Object.hasOwn(type.commands, command) ? type.commands[command] : undefined
  if (own === undefined) return failed(`a ${type.name} knows no command ${command.slice(0, 64)}`)
  const next = own(state, given)
  if (typeof next === 'string') return failed(next)
  return { succeeded: true, effects: { state: next }, result: {} }
}

/** Keys that set the seconds between two readings. */
export const intervalKeys = ['sampling_interval', 'telemetry_interval'] as const
export const heartbeatKey = 'heartbeat_interval'
const targetKey = 'target_temperature'

/** What a configuration changes; keys that the device does not know, and values that cannot be, change nothing. Pure. */
export function configure(
  type: DeviceType,
  state: State,
  values: Readonly<Record<string, unknown>>,
): Effects {
  const intervalS = intervalKeys.map((key) => values[key]).find(isInterval)
  const heartbeatS = values[heartbeatKey]
  const target = values[targetKey]
  const next = target === undefined ? undefined : type.commands?.set_target?.(state, { temperature: target })
  return {
    state: typeof next === 'object' ? next : state,
    ...(intervalS === undefined ? {} : { intervalS }),
    ...(isInterval(heartbeatS) ? { heartbeatS } : {}),
  }
}
