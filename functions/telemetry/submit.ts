/** POST /api/v1/devices/telemetry and its aliases: readings of the device that sends them. */
import * as z from 'zod'
import type { Devices } from '../../lib/devices/devices.ts'
import { AppError } from '../../lib/errors.ts'
import { readBytes } from '../../lib/http/body.ts'
import type { RequestContext } from '../../lib/http/context.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { wantsStrictHandling } from '../../lib/http/prefer.ts'
import { defineRoute, describeRoute, json, type RequestBody, typedBy } from '../../lib/http/route.ts'
import { idempotencyKeyOf, idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import type { ArrivalClock } from '../../lib/telemetry/arrival-clock.ts'
import type { Intake } from '../../lib/telemetry/intake/intake.ts'
import { type Decoded, decodePayload } from '../../lib/telemetry/payload/parse.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'
import { formatTime } from '../../lib/telemetry/time.ts'
import { warningsView } from '../../lib/telemetry/warnings.ts'

/** Only documents the body: `lib/telemetry/payload` validates it without zod. */
const messageBody: RequestBody = {
  schema: { $ref: '#/components/schemas/TelemetryMessage' },
  required: true,
  examples: {
    data: { data: { temperature: 21.5, humidity: 60 }, metadata: { sensor_status: 'active' } },
    flat: { temperature: 21.5, soil: { moisture: 0.31 } },
    batch: [{ values: { temperature: 21.5 } }, { values: { temperature: 21.6 }, age_ms: 30_000 }],
  },
}

export const documentation = () => {
  const stored = z.strictObject({
    message: z.string(),
    device_id: fields.deviceId,
    device_name: z.string(),
    timestamp: fields.time.describe('Of the newest reading that was stored.'),
    accepted: z.int().min(1).describe('Readings that must not be sent again.'),
    duplicates: fields.count.describe('Of these, recognised by their keys as sent before.'),
    rejected: telemetryResponses.rejections,
    warnings: telemetryResponses.warnings.optional(),
    warnings_total: fields.count
      .optional()
      .describe('How many there are; only where that is more than are shown.'),
  })
  return describeRoute({
    summary: 'Sends readings of the device itself',
    description:
      'One reading or a batch. 201 means that it is durable. A message that names its time may be sent again: one device, one time and one field are one value.',
    aliases: {
      'POST /api/v1/telemetry': {
        operationId: 'telemetry-submit-short',
        description: 'The same as `POST /api/v1/devices/telemetry`.',
      },
      'POST /api/v1/mqtt/telemetry/:id': {
        operationId: 'telemetry-submit-by-id',
        description:
          'The same as `POST /api/v1/devices/telemetry`, for the device itself: the id of another is not found.',
      },
    },
    body: messageBody,
    otherParameters: {
      'Idempotency-Key': {
        in: 'header',
        description:
          '1 to 255 visible ASCII characters. The same again within 24 h is the same message, and not stored twice; with another body it is refused.',
        schema: { type: 'string' },
      },
      Prefer: {
        in: 'header',
        description:
          '`handling=strict` stores nothing of a message with warnings, and answers 422 with all of them: for those who write the software of devices.',
        schema: { type: 'string' },
      },
    },
    responses: {
      201: json('The readings are stored: they survive a power cut.', stored),
      202: json(
        'The readings survive a power cut, and are stored as soon as the time-series database is back.',
        stored.extend({ status: z.literal('queued') }),
      ),
    },
  })
}

export const route = defineRoute({
  addresses: ['POST /api/v1/devices/telemetry', 'POST /api/v1/telemetry', 'POST /api/v1/mqtt/telemetry/:id'],
  access: 'device',
  limit: 'telemetry',
  direct: true,
  documentation: typedBy<typeof documentation>(),
})

const [jsonType, senmlType] = ['application/json', 'application/senml+json']

const isSenml = (contentType: string | undefined): boolean =>
  contentType?.trim().toLowerCase().startsWith(senmlType) ?? false

interface Deps extends EndpointDeps {
  devices: Devices
  intake: Intake
  clock: Pick<ArrivalClock, 'next'>
}

export const submitTelemetry = ({ devices, intake, clock, ...shared }: Deps) =>
  endpoint(route, shared, async (c: RequestContext, reply, device) => {
    if (c.req.param('id') !== undefined && idOf(c) !== device.id)
      throw new AppError('NOT_FOUND', 'There is no such device.')
    const receivedAt = clock.next()
    let decoded: Decoded
    let idempotencyKey: string | undefined
    const strict = wantsStrictHandling(c)
    try {
      decoded = decodePayload(await readBytes(c, { accepts: [jsonType, senmlType] }))
      idempotencyKey = idempotencyKeyOf(c)
    } catch (error) {
      await intake.countRejected(device.id, receivedAt, 1, 'http')
      throw error
    }
    devices.touch(device.id)
    const taken = await intake.accept(device, decoded.body, {
      receivedAt,
      messageId: c.get('requestId'),
      idempotencyKey,
      door: 'http',
      strict,
      senml: isSenml(c.req.header('content-type')),
      invalidUtf8: decoded.invalidUtf8,
    })
    const { accepted, queued, duplicates, rejected, time } = taken
    const answer = {
      message: 'Telemetry stored successfully',
      device_id: device.id,
      device_name: device.name,
      timestamp: formatTime(time),
      accepted,
      duplicates,
      rejected: rejected.map(({ index, code, message }) => ({ index, code, message })),
      ...warningsView(taken.warnings, taken.batch),
    }
    return queued > 0
      ? reply(c, 202, { ...answer, message: 'Telemetry queued', status: 'queued' })
      : reply(c, 201, answer)
  })

export const handler = serve(submitTelemetry, {
  devices: runtime.devices,
  intake: runtime.intake,
  clock: runtime.clock,
})
