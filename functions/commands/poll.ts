/** GET /api/v1/devices/commands: the commands that wait for the calling device, which may wait for one. */

import * as z from 'zod'
import { type Command, commandMessage } from '../../lib/commands/command.ts'
import type { Commands } from '../../lib/commands/commands.ts'
import * as commandResponses from '../../lib/commands/responses.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import type { RequestContext } from '../../lib/http/context.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { optionalParameter } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const maxWaitS = 25
const wholeSeconds = `must be a whole number of seconds from 0 to ${maxWaitS}`

const Query = z.object({
  wait: optionalParameter(
    z
      .string()
      .regex(/^\d{1,15}$/, wholeSeconds)
      .meta({ type: 'integer', minimum: 0, maximum: maxWaitS, pattern: undefined })
      .transform(Number)
      .refine((seconds) => seconds <= maxWaitS, wholeSeconds),
  ),
})

/** Seconds until a device asks again that was not held. */
const askAgainS = 30
/** Seconds until a device asks again for which there was no place to wait. */
const noPlaceS = 10
/** Time after which the key of a device that waits is checked again, ms: a key that was revoked ends the call. */
const checkKeyMs = 5000

export const documentation = () =>
  describeRoute({
    summary: 'Fetches the commands for the device itself',
    description:
      'For devices without MQTT. The commands count as sent. One that is not answered within 30 s comes again, with the same `command_id`.',
    query: Query,
    exampleQuery: { wait: 1 },
    fieldDescriptions: {
      wait: 'Seconds that the call is held until there is a command. A server may hold it for a shorter time, or not at all: `retry_after_s` then says when to ask again.',
    },
    responses: {
      200: json(
        'In the order in which they are to be carried out, at most 20.',
        z.strictObject({
          status: fields.success,
          device_id: fields.deviceId,
          commands: z.array(commandResponses.pendingCommand),
          count: fields.count,
          retry_after_s: fields.count.describe('When to ask again; 0: at once.'),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/devices/commands'],
  access: 'device',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  commands: Pick<Commands, 'take' | 'wait'>
  devices: Pick<Devices, 'authenticate'>
  /** Longest time that a call is held, seconds. */
  pollMaxS: number
}

interface Polled {
  readonly commands: readonly Command[]
  readonly retryAfterS: number
}

export const pollCommands = ({ commands, devices, pollMaxS, ...shared }: Deps) => {
  /** Waits for a command. @throws {AppError} when the key of the device ends meanwhile. */
  const waitFor = async (c: RequestContext, deviceId: number, waitS: number): Promise<Polled> => {
    const key = c.req.header('x-api-key') ?? ''
    const { signal } = c.req.raw
    const deadline = performance.now() + waitS * 1000
    for (;;) {
      const leftMs = deadline - performance.now()
      const outcome = await commands.wait(deviceId, Math.min(leftMs, checkKeyMs), signal)
      await devices.authenticate(key)
      // The client is gone: commands that it is given now would be lost for a while.
      if (signal.aborted) return { commands: [], retryAfterS: 0 }
      const found = await commands.take(deviceId)
      if (found.length > 0) return { commands: found, retryAfterS: 0 }
      if (outcome === 'ended') return { commands: [], retryAfterS: 1 }
      if (outcome === 'full') return { commands: [], retryAfterS: noPlaceS }
      if (performance.now() >= deadline) return { commands: [], retryAfterS: 0 }
    }
  }

  return endpoint(route, shared, async (c, reply, { id }) => {
    const waitS = Math.min(queryOf(c, Query).wait ?? 0, pollMaxS)
    const taken = await commands.take(id)
    const { commands: found, retryAfterS } =
      taken.length > 0
        ? { commands: taken, retryAfterS: 0 }
        : waitS === 0
          ? { commands: [], retryAfterS: askAgainS }
          : await waitFor(c, id, waitS)
    return reply(c, 200, {
      status: 'success',
      device_id: id,
      commands: found.map(commandMessage),
      count: found.length,
      retry_after_s: retryAfterS,
    })
  })
}

export const handler = serve(pollCommands, {
  commands: runtime.commandDesk,
  devices: runtime.devices,
  pollMaxS: () => runtime.config().commandPollMaxS,
})
