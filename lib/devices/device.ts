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
}

/** What a new device says of itself. */
export interface NewDevice {
  readonly name: string
  readonly deviceType: string
  readonly description?: string | null | undefined
  readonly location?: string | null | undefined
  readonly firmwareVersion?: string | null | undefined
  readonly hardwareVersion?: string | null | undefined
}

const iso = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z')

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

/** @param now milliseconds since the epoch. */
export const isOnline = (device: Device, now: number): boolean =>
  device.lastSeenAt !== null &&
  device.status !== 'inactive' &&
  now - device.lastSeenAt < device.offlineAfterS * 1000
