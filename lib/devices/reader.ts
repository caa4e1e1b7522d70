/** Which device a reader may see. */
import { AppError } from '../errors.ts'
import type { Device } from './device.ts'
import type { Devices } from './devices.ts'

/**
 * The device asked for; somebody else's reads like one that does not exist.
 * @throws {AppError} NOT_FOUND
 */
export async function visibleDevice(
  devices: Pick<Devices, 'find'>,
  reader: { readonly kind: 'public' | 'admin' } | { readonly kind: 'device'; readonly device: Device },
  id: number,
): Promise<Device> {
  const device = reader.kind === 'device' && reader.device.id !== id ? undefined : await devices.find(id)
  if (device === undefined) throw new AppError('NOT_FOUND', 'There is no such device.')
  return device
}
