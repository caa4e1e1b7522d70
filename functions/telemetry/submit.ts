/** POST /api/v1/devices/telemetry and its aliases: readings of the device that sends them. */

import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { AppError } from '../../lib/errors.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idempotencyKeyOf, idOf, readJson } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import type { Arrivals } from '../../lib/telemetry/arrivals.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'
import { formatTime } from '../../lib/telemetry/time.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Devices
  telemetry: Telemetry
  arrivals: Arrivals
}

const routes = ['POST /api/v1/devices/telemetry', 'POST /api/v1/telemetry', 'POST /api/v1/mqtt/telemetry/:id']

export const submitTelemetry = ({ log, gate, devices, telemetry, arrivals }: Deps) =>
  endpoint(log, routes, gate.device('telemetry'), async (c, device) => {
    if (c.req.param('id') !== undefined && idOf(c) !== device.id)
      throw new AppError('NOT_FOUND', 'There is no such device.')
    const receivedAt = arrivals.next()
    let body: unknown
    let idempotencyKey: string | undefined
    try {
      body = await readJson(c)
      if (body === undefined) throw new AppError('MALFORMED_JSON', 'The body is empty: JSON is expected.')
      idempotencyKey = idempotencyKeyOf(c)
    } catch (error) {
      await telemetry.countRefused(device.id, receivedAt)
      throw error
    }
    devices.seen(device.id)
    const taking = telemetry.ingest(device, body, {
      receivedAt,
      messageId: c.get('requestId'),
      idempotencyKey,
    })
    // Nothing of it is held while it waits.
    body = undefined
    const { accepted, queued, duplicates, rejected, time } = await taking
    return reply(c, queued > 0 ? 202 : 201, {
      message: queued > 0 ? 'Telemetry queued' : 'Telemetry stored successfully',
      status: queued > 0 ? 'queued' : undefined,
      device_id: device.id,
      device_name: device.name,
      timestamp: formatTime(time),
      accepted,
      duplicates,
      rejected: rejected.map(({ index, code, message }) => ({ index, code, message })),
    })
  })

export const handler = lambda(async () =>
  submitTelemetry({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    telemetry: await runtime.telemetry(),
    arrivals: await runtime.arrivals(),
  }),
)
