/** The devices that a reader may see. */
import { AppError } from '../errors.ts'
import type { DeletedDevice } from './deleted-devices.ts'
import type { Device } from './device.ts'
import type { Devices } from './devices.ts'

type Reader = { readonly kind: 'public' | 'admin' } | { readonly kind: 'device'; readonly device: Device }

const find = async (
  devices: Pick<Devices, 'find'>,
  reader: Reader,
  id: number,
): Promise<Device | undefined> =>
  reader.kind === 'device' && reader.device.id !== id ? undefined : devices.find(id)

const orNotFound = <T>(device: T | undefined): T => {
  if (device === undefined) throw new AppError('NOT_FOUND', 'There is no such device.')
  return device
}

/**
 * The device with this id. A device reads only itself: for it, every other device does not exist.
 * @throws {AppError} NOT_FOUND
 */
export async function existingDevice(
  devices: Pick<Devices, 'find'>,
  reader: Reader,
  id: number,
): Promise<Device> {
  return orNotFound(await find(devices, reader, id))
}

/**
 * The device whose telemetry a reader may see: as {@link existingDevice}, and for operators also a deleted one.
 * @throws {AppError} NOT_FOUND
 */
export async function visibleDevice(
  devices: Pick<Devices, 'find' | 'findDeleted'>,
  reader: Reader,
  id: number,
): Promise<Device | DeletedDevice> {
  const found = await find(devices, reader, id)
  return orNotFound(found ?? (reader.kind === 'admin' ? await devices.findDeleted(id) : undefined))
}
