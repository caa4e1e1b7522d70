/** PUT /api/v1/admin/devices/{id}/config: changes keys of the desired configuration as one; null deletes a key. */
import * as z from 'zod'
import {
  type Changes,
  type Configurations,
  configurationView,
  dataTypeOf,
} from '../../lib/commands/configuration.ts'
import { configurationKey, jsonValue } from '../../lib/commands/fields.ts'
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf, jsonBody } from '../../lib/http/validate.ts'
import { entityTag, expectedVersion } from '../../lib/http/versions.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'

export const Body = z.object(
  { configuration: z.record(configurationKey, jsonValue, 'must be an object of keys and values') },
  notAnObject,
)

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Devices
  configurations: Pick<Configurations, 'change'>
}

export const configureDevice = ({ log, gate, devices, configurations }: Deps) =>
  endpoint(log, 'PUT /api/v1/admin/devices/:id/config', gate.admin(), async (c) => {
    const { id } = await devices.get(idOf(c))
    const ifVersion = expectedVersion(c)
    const { configuration } = await jsonBody(c, Body)
    const changes: Changes = Object.fromEntries(
      Object.entries(configuration).map(([key, value]) => [
        key,
        value === null ? null : { value, dataType: dataTypeOf(value) },
      ]),
    )
    const changed = await configurations.change(id, changes, { by: 'admin', ifVersion })
    c.get('headers').ETag = entityTag(changed.version)
    return reply(c, 200, {
      status: 'success',
      message: 'Configuration updated successfully',
      device_id: id,
      ...configurationView(changed),
      published: changed.published,
    })
  })

export const handler = lambda(async () =>
  configureDevice({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    configurations: await runtime.configurations(),
  }),
)
