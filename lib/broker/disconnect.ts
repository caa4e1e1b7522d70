/** Ends connections of devices at the broker. */
import { DeleteConnectionCommand, type IoTDataPlaneClient } from '@aws-sdk/client-iot-data-plane'
import type { Messenger } from './messenger.ts'

export const disconnecterOf = (client: IoTDataPlaneClient): Pick<Messenger, 'disconnect'> => ({
  async disconnect(clientId) {
    try {
      await client.send(
        new DeleteConnectionCommand({ clientId, cleanSession: true, preventWillMessage: true }),
      )
    } catch (error) {
      if ((error as { name?: string }).name !== 'ResourceNotFoundException') throw error
    }
  },
})
