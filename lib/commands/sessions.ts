/** Ends what a device has open at the broker, for the moment it loses a right. */
import type { Log } from '../log.ts'
import type { Messenger } from './messenger.ts'

export interface Sessions {
  /** Connections and sessions that were ended; null when the broker could not be reached for one of them. */
  end(deviceId: number): Promise<number | null>
}

export function createSessions(options: {
  /** Client ids of a device that may be connected. */
  openClients: (deviceId: number) => Promise<string[]>
  /** Undefined where there is no broker. */
  messenger: Messenger | undefined
  log: Log
}): Sessions {
  const { openClients, messenger, log } = options
  return {
    async end(deviceId) {
      if (messenger === undefined) return 0
      const clients = await openClients(deviceId)
      const ended = await Promise.allSettled(clients.map((clientId) => messenger.disconnect(clientId)))
      const failed = ended.find((result) => result.status === 'rejected')
      if (failed === undefined) return clients.length
      log.error('mqtt sessions could not be ended', { device_id: deviceId, error: failed.reason })
      return null
    },
  }
}
