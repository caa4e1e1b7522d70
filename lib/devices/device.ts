/** What a device is, and how it is shown. A device in `maintenance` may still send; an `inactive` one may do nothing. */

export type DeviceStatus = 'active' | 'inactive' | 'maintenance'

export interface Device {
  /** From 1; never given twice. */
  readonly id: number
  readonly name: string
  readonly description: string | null
  readonly deviceType: string
  readonly status: DeviceStatus
  readonly location: string | null
  readonly firmwareVersion: string | null
  readonly hardwareVersion: string | null
  /** Seconds without a sign of life after which the device counts as offline. */
  readonly offlineAfterS: number
  /** Milliseconds since the epoch, as all times here. */
  readonly createdAt: number
  readonly updatedAt: number
  readonly lastSeenAt: number | null
  /** When the device, or its will, last said that it goes offline. */
  readonly offlineAt: number | null
  /** When the newest MQTT session that is still open began. */
  readonly connectedAt: number | null
}

/** What describes a device. In a change, what is left out stays as it is. */
export interface Description {
  readonly description?: string | null | undefined
  readonly location?: string | null | undefined
  readonly firmwareVersion?: string | null | undefined
  readonly hardwareVersion?: string | null | undefined
}

/** What a new device says of itself. */
export interface NewDevice extends Description {
  readonly name: string
  readonly deviceType: string
}

/** A change to a device. */
export interface DeviceChange extends Description {
  readonly name?: string | undefined
  readonly deviceType?: string | undefined
  readonly status?: DeviceStatus | undefined
  /** Seconds, 1 or more; null takes the default of the settings. */
  readonly offlineAfterS?: number | null | undefined
}

/** @param ms milliseconds since the epoch. */
export const iso = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z')

/** The device as every answer shows it. */
export const deviceView = (device: Device) => ({
  id: device.id,
  name: device.name,
  description: device.description,
  device_type: device.deviceType,
  status: device.status,
  location: device.location,
  firmware_version: device.firmwareVersion,
  hardware_version: device.hardwareVersion,
  created_at: iso(device.createdAt),
  updated_at: iso(device.updatedAt),
  last_seen: device.lastSeenAt === null ? null : iso(device.lastSeenAt),
})

/** An authorizer lets no connection live longer, ms: a session that began before has ended, told or not. */
export const maxSessionMs = 86_400_000

/**
 * Online is a device with an MQTT session that is open, or with a sign of life that is younger than its own limit; what it
 * last said of going offline counts until the next sign.
 * @param now milliseconds since the epoch.
 */
export function isOnline(device: Device, now: number): boolean {
  if (device.status === 'inactive') return false
  const since = (device.offlineAt ?? 0) + 1
  const { connectedAt, lastSeenAt, offlineAfterS } = device
  if (connectedAt !== null && connectedAt >= since && now - connectedAt < maxSessionMs) return true
  return lastSeenAt !== null && lastSeenAt >= since && now - lastSeenAt < offlineAfterS * 1000
}

/** The device as its owner and operators see it. @param now milliseconds since the epoch. */
export const deviceDetails = (device: Device, now: number) => ({
  ...deviceView(device),
  is_online: isOnline(device, now),
  offline_after_s: device.offlineAfterS,
})
