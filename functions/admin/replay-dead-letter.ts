/** POST /api/v1/admin/dead-letters/{id}/replay: stores a dead letter again, with the device and the arrival time of our record. */
import * as z from 'zod'
import type { Devices } from '../../lib/devices/devices.ts'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import type { TopicTree } from '../../lib/mqtt/topics.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import type { DeadLetters } from '../../lib/telemetry/dead-letters.ts'
import { decodePayload } from '../../lib/telemetry/payload/parse.ts'
import type { Replay } from '../../lib/telemetry/replay.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Tries a message again that could not be stored',
    description:
      'Device and arrival are those of the record, never of the payload. Readings that are refused again stay in it.',
    responses: {
      200: json(
        'At least one reading was taken.',
        z.strictObject({
          status: fields.success,
          message: z.string(),
          id: z.int().min(1),
          accepted: z.int().min(1),
          queued: fields.count,
          duplicates: fields.count,
          rejected: telemetryResponses.rejections,
        }),
      ),
    },
    errors: [400, 409, 422],
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/dead-letters/:id/replay'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Pick<Devices, 'find'>
  replays: Replay
  deadLetters: Pick<DeadLetters, 'get' | 'narrow' | 'discard'>
  topics: TopicTree
}

export const replayDeadLetter = ({ devices, replays, deadLetters, topics, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const letter = await deadLetters.get(idOf(c))
    const { id, deviceId, indexes, receivedAt, messageId } = letter
    const device = deviceId === undefined ? undefined : await devices.find(deviceId)
    if (device === undefined || device.status === 'inactive') {
      throw new AppError(
        'CONFLICT',
        `The device of this dead letter ${device ? 'is inactive' : 'does not exist'}: its message cannot be stored.`,
      )
    }
    const { accepted, queued, duplicates, rejected } = await replays.run(device, {
      id,
      ...decodePayload(letter.payload),
      indexes,
      receivedAt,
      messageId,
      subtopic: topics.parse(letter.topic)?.subtopic,
    })
    const [first] = rejected
    const left = first
      ? await deadLetters.narrow(
          letter,
          rejected.map(({ index }) => index),
          `${rejected.length} readings were refused again; [${first.index}] ${first.message}`,
        )
      : await deadLetters.discard(id)
    // When two replays run at once, only one of them finds the dead letter unchanged.
    if (left) await replays.settle(device.id, indexes === undefined ? 1 : accepted)
    else if (indexes === undefined) await replays.settle(device.id, rejected.length)
    return reply(c, 200, {
      status: 'success',
      message: rejected.length > 0 ? 'Dead letter replayed in part' : 'Dead letter replayed',
      id,
      accepted,
      queued,
      duplicates,
      rejected: rejected.map(({ index, code, message }) => ({ index, code, message })),
    })
  })

export const handler = serve(replayDeadLetter, {
  devices: runtime.devices,
  replays: runtime.replays,
  deadLetters: runtime.deadLetters,
  topics: runtime.topics,
})
