/** Devices that are not judged any more: their open alerts are cleared at once. */
import type { Log } from '../log.ts'
import type { Alerts } from './alerts.ts'

interface Leaver {
  readonly id: number
  /** The status that it has now, or that it is gone. */
  readonly status: string
}

export interface ClearedWith {
  readonly alerts: Pick<Alerts, 'clearOf'>
  readonly log: Log
}

/** Never rejects: what cannot be cleared now is cleared by the next sweep. */
export async function clearLeavers(leavers: readonly Leaver[], { alerts, log }: ClearedWith): Promise<void> {
  try {
    for (const reason of ['maintenance', 'inactive', 'device_deleted'] as const) {
      const ids = leavers.filter(({ status }) => status === reason).map(({ id }) => id)
      await alerts.clearOf(ids, reason)
    }
  } catch (error) {
    log.warn('alerts of devices that are not judged any more could not be cleared', { error })
  }
}
