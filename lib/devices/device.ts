/** The device, and its form in answers. A device in `maintenance` may still send; an `inactive` one may do nothing. */
import { formatMillis } from '../iso-time.ts'

export type DeviceStatus = 'active' | 'inactive' | 'maintenance'

export interface Device {
  /** From 1; no id is used twice. */
  readonly id: number
  readonly name: string
  readonly description: string | null
  readonly deviceType: string
  readonly status: DeviceStatus
  readonly location: string | null
  /** IANA name of the zone of its local times; null means UTC. */
  readonly timezone: string | null
  readonly firmwareVersion: string | null
  readonly hardwareVersion: string | null
  readonly labels: Labels
  /** Seconds after which a device that was not seen counts as offline. */
  readonly offlineAfterS: number
  /** Milliseconds since the epoch, as all times here. */
  readonly createdAt: number
  readonly updatedAt: number
  readonly lastSeenAt: number | null
  /** Time of the last offline message of the device or of its will. */
  readonly offlineAt: number | null
  /** Begin of the newest MQTT session that is open. */
  readonly connectedAt: number | null
}

/** What operators select devices by: values by their keys. */
export type Labels = Readonly<Record<string, string>>

/** The describing fields of a device. A change leaves absent fields as they are. */
export interface Description {
  readonly description?: string | null | undefined
  readonly location?: string | null | undefined
  readonly timezone?: string | null | undefined
  readonly firmwareVersion?: string | null | undefined
  readonly hardwareVersion?: string | null | undefined
}

/** The fields of a device at its registration. */
export interface NewDevice extends Description {
  readonly name: string
  readonly deviceType: string
  readonly labels?: Labels | null | undefined
  /** The enrolment key with which it registers, where the registry has that. */
  readonly enrollmentKeyId?: number | undefined
}

/** A change to a device. */
export interface DeviceChange extends Description {
  readonly name?: string | undefined
  readonly deviceType?: string | undefined
  readonly status?: DeviceStatus | undefined
  /** Labels that are not named stay; null removes one, or all of them. */
  readonly labels?: Readonly<Record<string, string | null>> | null | undefined
  /** Seconds, 1 or more; null means the default of the settings. */
  readonly offlineAfterS?: number | null | undefined
}

/** The device as every answer shows it. */
export const deviceView = (device: Device) => ({
  id: device.id,
  name: device.name,
  description: device.description,
  device_type: device.deviceType,
  status: device.status,
  location: device.location,
  timezone: device.timezone,
  firmware_version: device.firmwareVersion,
  hardware_version: device.hardwareVersion,
  labels: device.labels,
  created_at: formatMillis(device.createdAt),
  updated_at: formatMillis(device.updatedAt),
  last_seen: device.lastSeenAt === null ? null : formatMillis(device.lastSeenAt),
})

/** The longest life of an MQTT connection, ms: the authorizer ends it then, even if no event reports the end. */
export const maxSessionMs = 86_400_000

/**
 * A device is online while an MQTT session is open, and for `offlineAfterS` after it was last seen. An offline message ends
 * that until the device connects or is seen again.
 * @param now milliseconds since the epoch.
 */
export function isOnline(device: Device, now: number): boolean {
  if (device.status === 'inactive') return false
  const since = (device.offlineAt ?? 0) + 1
  const { connectedAt, lastSeenAt, offlineAfterS } = device
  if (connectedAt !== null && connectedAt >= since && now - connectedAt < maxSessionMs) return true
  return lastSeenAt !== null && lastSeenAt >= since && now - lastSeenAt < offlineAfterS * 1000
}

/** The device as itself and operators see it. @param now milliseconds since the epoch. */
export const deviceDetails = (device: Device, now: number) => ({
  ...deviceView(device),
  is_online: isOnline(device, now),
  offline_after_s: device.offlineAfterS,
})
