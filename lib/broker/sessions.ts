/** Ends the MQTT sessions of a device that has lost its right to connect. */
import pRetry from 'p-retry'
import type { Log } from '../log.ts'
import type { Messenger } from './messenger.ts'

export interface Sessions {
  /**
   * Ends every connection and session of a device.
   * @param clientId a client that the registry may not know yet.
   * @returns how many connections were open; null when the broker could not be reached for one of them.
   */
  end(deviceId: number, clientId?: string): Promise<number | null>
}

/** Pauses of 100 and 500 ms: the caller waits for the answer. */
const retries = { retries: 2, minTimeout: 100, factor: 5 } as const

export function createSessions(options: {
  /** The client ids of a device, each with whether it is connected; a client that is not may still have a session. */
  clients: (deviceId: number) => Promise<ReadonlyMap<string, boolean>>
  /** Client ids that a device may have without its registry knowing. */
  unreported: (deviceId: number) => readonly string[]
  /** What the broker itself knows of the clients, without delay; undefined where it cannot be asked. */
  atBroker?: (deviceId: number) => ReadonlyMap<string, boolean> | undefined
  /** Undefined when there is no broker. */
  messenger: Pick<Messenger, 'disconnect'> | undefined
  log: Log
}): Sessions {
  const { clients, unreported, atBroker, messenger, log } = options
  return {
    async end(deviceId, clientId) {
      if (messenger === undefined) return 0
      const registered = await clients(deviceId)
      const current = atBroker?.(deviceId)
      const isOpen = new Map(unreported(deviceId).map((id) => [id, false]))
      for (const [id, open] of registered) isOpen.set(id, open && current === undefined)
      for (const [id, open] of current ?? []) isOpen.set(id, open)
      if (clientId !== undefined) isOpen.set(clientId, true)
      const disconnect = (id: string) => pRetry(() => messenger.disconnect(id), retries)
      const results = await Promise.allSettled([...isOpen.keys()].map(disconnect))
      const failure = results.find((result) => result.status === 'rejected')
      if (failure === undefined) return [...isOpen.values()].filter((open) => open).length
      log.error('mqtt sessions could not be ended', { device_id: deviceId, error: failure.reason })
      return null
    },
  }
}
