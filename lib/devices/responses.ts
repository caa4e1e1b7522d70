/** Schemas of devices and their keys, as responses show them. */
import * as z from 'zod'
import { count, deviceId, time } from '../response-fields.ts'
import { prefixLength } from './credentials.ts'
import { enrollmentKeyStatuses } from './enrollment-keys.ts'
import { deviceStatus } from './fields.ts'

export const apiKey = z
  .string()
  .regex(/^[A-Za-z0-9]{24,64}$/)
  .meta({ id: 'ApiKey', description: 'Shown here only: the server keeps only its digest.' })

export const status = deviceStatus.meta({
  id: 'DeviceStatus',
  description:
    'A device in maintenance may still send and read; nothing is alerted for it. An inactive one is refused.',
})

/** A device in short. */
export const deviceState = z
  .strictObject({
    id: deviceId,
    name: z.string(),
    device_type: z.string(),
    status,
    is_online: z.boolean(),
  })
  .meta({ id: 'DeviceState' })

const fields = {
  description: z.string().nullable(),
  device_type: z.string(),
  status,
  location: z.string().nullable(),
  timezone: z.string().nullable().describe('IANA name; null means UTC.'),
  firmware_version: z.string().nullable(),
  hardware_version: z.string().nullable(),
  labels: z.record(z.string(), z.string()).describe('What operators select devices by.'),
  created_at: time,
  updated_at: time,
  last_seen: time.nullable(),
}

export const device = z.strictObject({ id: deviceId, name: z.string(), ...fields }).meta({ id: 'Device' })

export const newDevice = z
  .strictObject({ id: deviceId, name: z.string(), api_key: apiKey, ...fields })
  .meta({ id: 'NewDevice' })

/** The versions of the configuration. */
const versions = {
  desired_version: count.describe('The version of its configuration; 0: there has never been one.'),
  reported_version: count.nullable().describe('The version that the device says it runs.'),
}

export const listedDevice = z
  .strictObject({ ...device.shape, is_online: z.boolean(), ...versions })
  .meta({ id: 'ListedDevice' })

export const deletedDevice = z
  .strictObject({
    id: deviceId,
    name: z.string(),
    device_type: z.string(),
    timezone: fields.timezone,
    deleted_at: time,
  })
  .meta({ id: 'DeletedDevice', description: 'A device that was deleted while readings of it stayed.' })

const details = {
  ...device.shape,
  is_online: z.boolean(),
  offline_after_s: z.int().min(1).describe('Seconds of silence after which it counts as offline.'),
}
export const deviceDetails = z.strictObject(details).meta({ id: 'DeviceDetails' })

export const countedDevice = z
  .strictObject({ ...details, telemetry_count: count.describe('Readings that are kept of it.') })
  .meta({ id: 'CountedDevice' })

export const shownDevice = z.strictObject({ ...countedDevice.shape, ...versions }).meta({ id: 'ShownDevice' })

/** In front of everything that is answered about one device. */
export const ofDevice = { device_id: deviceId, device_name: z.string(), device_type: z.string() }

export const authRecord = z
  .strictObject({
    key_prefix: z.string().length(prefixLength),
    is_active: z.boolean(),
    created_at: time,
    expires_at: time.nullable(),
    last_used: time.nullable().describe('The same as `last_used_at`.'),
    last_used_at: time.nullable().describe('Written every few minutes.'),
    revoked_at: time.nullable(),
  })
  .meta({ id: 'AuthRecord', description: 'An API key as operators see it.' })

export const enrollmentKey = z
  .strictObject({
    id: z.int().min(1),
    name: z.string(),
    key_prefix: z.string().length(prefixLength),
    status: z.enum(enrollmentKeyStatuses),
    device_type: z.string().nullable().describe('The only type that it registers; null for any.'),
    max_devices: count.nullable().describe('Devices that it may register; null for any number.'),
    used: count.describe('Devices that it has registered.'),
    created_at: time,
    expires_at: time.nullable(),
    last_used_at: time.nullable(),
    revoked_at: time.nullable(),
  })
  .meta({ id: 'EnrollmentKey', description: 'A key with which devices register themselves.' })

export const previousKeyExpiresAt = time
  .nullable()
  .describe('The time until which the previous key stays valid; null when there was none.')

export const keyExpiresAt = time.nullable().describe('The end of the new key; null when it has none.')

export const sessionsEnded = count
  .nullable()
  .describe('MQTT connections and sessions; null when the broker could not be reached.')
