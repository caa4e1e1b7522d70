/** One alert with its history, as the endpoints about it answer. */
import type { Devices } from '../devices/devices.ts'
import { AppError } from '../errors.ts'
import { alertView, historyView } from './alert.ts'
import type { Alerts } from './alerts.ts'

interface Sources {
  readonly alerts: Pick<Alerts, 'find'>
  readonly devices: Pick<Devices, 'find'>
}

/** @throws {AppError} NOT_FOUND */
export async function shownAlert(id: number, { alerts, devices }: Sources) {
  const found = await alerts.find(id)
  if (found === undefined) throw new AppError('NOT_FOUND', 'There is no such alert.')
  const { alert, history } = found
  const device = await devices.find(alert.deviceId)
  return { ...alertView(alert, device?.name ?? null), history: history.map(historyView) }
}
