/** The options that describe a device, for the commands that write them. */
import type { Command } from 'commander'
import { UsageError } from '../../scripts/command.ts'

export interface DeviceOptions {
  readonly type?: string
  readonly description?: string
  readonly location?: string
  readonly timezone?: string
  readonly firmware?: string
  readonly hardware?: string
  readonly offlineAfter?: string
}

export const addDeviceOptions = (command: Command): Command =>
  command
    .option('--description <text>', 'what it is')
    .option('--location <text>', 'where it is')
    .option('--timezone <name>', 'the IANA name of the zone of its local times, such as Europe/Berlin')
    .option('--firmware <version>', 'its firmware')
    .option('--hardware <version>', 'its hardware')
    .option('--offline-after <seconds>', 'silence after which it counts as offline')

/** An empty text clears a field. */
const orNull = (text: string | undefined) => (text === '' ? null : text)

const secondsOf = (text: string | undefined): number | null | undefined => {
  if (text === undefined || text === '') return orNull(text) as null | undefined
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new UsageError(`--offline-after must be a whole number of seconds, not "${text}".`)
}

/** The fields by the names of the API. @throws {UsageError} */
export const fieldsOf = (options: DeviceOptions): Record<string, unknown> => ({
  device_type: options.type,
  description: orNull(options.description),
  location: orNull(options.location),
  timezone: orNull(options.timezone),
  firmware_version: orNull(options.firmware),
  hardware_version: orNull(options.hardware),
  offline_after_s: secondsOf(options.offlineAfter),
})
