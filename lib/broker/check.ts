/** Asks the broker whether it answers. */
import { type IoTDataPlaneClient, ListRetainedMessagesCommand } from '@aws-sdk/client-iot-data-plane'
import type { Messenger } from './messenger.ts'

export const brokerCheckOf = (client: IoTDataPlaneClient): Pick<Messenger, 'check'> => ({
  async check() {
    await client.send(new ListRetainedMessagesCommand({ maxResults: 1 }))
  },
})
