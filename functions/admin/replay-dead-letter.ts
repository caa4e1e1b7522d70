/** POST /api/v1/admin/dead-letters/{id}/replay: the message is tried again, with the device and the arrival of our record. */
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { AppError } from '../../lib/errors.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf } from '../../lib/http/validate.ts'
import { decodeJson } from '../../lib/json.ts'
import type { Log } from '../../lib/log.ts'
import { parseDeviceTopic } from '../../lib/mqtt/topics.ts'
import * as runtime from '../../lib/runtime.ts'
import type { DeadLetters } from '../../lib/telemetry/dead-letters.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Pick<Devices, 'find'>
  telemetry: Pick<Telemetry, 'replay' | 'settleReplay'>
  deadLetters: Pick<DeadLetters, 'get' | 'narrow' | 'discard'>
}

export const replayDeadLetter = ({ log, gate, devices, telemetry, deadLetters }: Deps) =>
  endpoint(log, 'POST /api/v1/admin/dead-letters/:id/replay', gate.admin(), async (c) => {
    const letter = await deadLetters.get(idOf(c))
    const { id, deviceId, indexes, receivedAt, messageId } = letter
    const device = deviceId === undefined ? undefined : await devices.find(deviceId)
    if (device === undefined || device.status === 'inactive') {
      throw new AppError(
        'CONFLICT',
        `The device of this dead letter ${device ? 'is inactive' : 'does not exist'}: its message cannot be stored.`,
      )
    }
    const { accepted, queued, duplicates, rejected } = await telemetry.replay(device, {
      id,
      body: decodeJson(letter.payload),
      indexes,
      receivedAt,
      messageId,
      subtopic: parseDeviceTopic(letter.topic)?.subtopic,
    })
    const [first] = rejected
    const left = first
      ? await deadLetters.narrow(
          letter,
          rejected.map(({ index }) => index),
          `${rejected.length} readings were refused again; [${first.index}] ${first.message}`,
        )
      : await deadLetters.discard(id)
    // Of two replays at once only one finds the letter as it was.
    if (left) await telemetry.settleReplay(device.id, indexes === undefined ? 1 : accepted)
    else if (indexes === undefined) await telemetry.settleReplay(device.id, rejected.length)
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

export const handler = lambda(async () =>
  replayDeadLetter({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    telemetry: await runtime.telemetry(),
    deadLetters: await runtime.deadLetters(),
  }),
)
