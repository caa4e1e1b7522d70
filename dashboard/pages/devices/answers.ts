/** Answers of the API that the pages of devices show. */
import type { documentation as importDevices } from '../../../functions/admin/import.ts'
import type { documentation as listDevices } from '../../../functions/admin/list.ts'
import type { documentation as showDevice } from '../../../functions/admin/show.ts'
import type { Answer } from '../../answers.ts'

export type DeviceList = Answer<typeof listDevices>
export type ListedDevice = Extract<DeviceList['devices'][number], { status: string }>
export type DeviceDetails = Answer<typeof showDevice>
export type ImportAnswer = Answer<typeof importDevices>

export const statuses = ['active', 'maintenance', 'inactive'] as const
export type Status = (typeof statuses)[number]
