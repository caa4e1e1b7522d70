/** The types of devices, and the fleets that are made of them. */
import { airQuality, temperature, thermostat } from './climate.ts'
import type { DeviceType } from './device-type.ts'
import { industrial, smartMeter, tracker } from './machines.ts'
import { camera, doorLock, motion } from './security.ts'
import type { SiteKind } from './site.ts'

/** In the order in which a fleet without a preset takes them. */
export const deviceTypes = [
  temperature,
  doorLock,
  camera,
  airQuality,
  thermostat,
  motion,
  smartMeter,
  industrial,
  tracker,
] as const satisfies readonly DeviceType[]

export const typeNames: readonly string[] = deviceTypes.map(({ name }) => name)

/** Undefined for an unknown name. */
export const findType = (name: string): DeviceType | undefined =>
  deviceTypes.find((type) => type.name === name)

/** How many devices of each type a place has: 9, 16 and 30 devices, as the fleets of the predecessor. */
export const presets: Readonly<Record<SiteKind, Readonly<Record<string, number>>>> = {
  home: { temperature: 3, thermostat: 1, motion: 1, door_lock: 2, camera: 2 },
  office: { temperature: 4, air_quality: 3, motion: 3, door_lock: 2, camera: 3, smart_meter: 1 },
  factory: {
    industrial: 12,
    temperature: 5,
    air_quality: 3,
    smart_meter: 3,
    motion: 2,
    camera: 2,
    door_lock: 1,
    tracker: 2,
  },
}

export const presetNames = Object.keys(presets) as readonly SiteKind[]

/** The types of a preset, one for each device. */
export const typesOfPreset = (preset: SiteKind): readonly DeviceType[] =>
  Object.entries(presets[preset]).flatMap(([name, count]) => {
    const type = findType(name)
    return type === undefined ? [] : Array<DeviceType>(count).fill(type)
  })
