/** Publishes messages to devices. */
import {
  type IoTDataPlaneClient,
  PublishCommand,
  type ServiceOutputTypes,
} from '@aws-sdk/client-iot-data-plane'
import type { Messenger, Published } from './messenger.ts'
import { publishedHeaders } from './published-headers.ts'

type Headers = Readonly<Record<string, string>>

const publishedOf = (headers: Headers | undefined): Published => {
  const reached = headers?.[publishedHeaders.reached]
  return {
    reached: reached === undefined ? undefined : reached === 'true',
    sessions: headers?.[publishedHeaders.sessions]?.split(' ').filter((id) => id !== '') ?? [],
    isConfirmed: headers?.[publishedHeaders.confirmed] === 'true',
  }
}

/** @param client gets a step that keeps the headers of its answers. */
export function publisherOf(client: IoTDataPlaneClient): Pick<Messenger, 'publish'> {
  // The client's answers hold no headers but those that it knows.
  client.middlewareStack.add(
    (next) => async (call) => {
      const answer = await next(call)
      const { headers } = answer.response as { headers?: Headers }
      return { ...answer, output: { ...(answer.output as ServiceOutputTypes), headers } }
    },
    { step: 'initialize', name: 'keepHeaders' },
  )
  return {
    async publish({ topic, payload, retain, properties }) {
      const message = { topic, payload: Buffer.from(payload), qos: 1, retain }
      const extras = properties && {
        responseTopic: properties.responseTopic,
        correlationData: Buffer.from(properties.correlationData).toString('base64'),
        messageExpiry: properties.expiresInS,
      }
      const answer = await client.send(new PublishCommand({ ...message, ...extras }))
      return publishedOf((answer as object as { headers?: Headers }).headers)
    },
  }
}
