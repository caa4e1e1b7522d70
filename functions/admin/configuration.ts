/** GET /api/v1/admin/devices/{id}/config: the desired configuration beside the version the device reports. */
import { type ConfigurationStore, configurationView } from '../../lib/commands/configuration.ts'
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf } from '../../lib/http/validate.ts'
import { entityTag, isUnchanged } from '../../lib/http/versions.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Devices
  configurations: Pick<ConfigurationStore, 'read'>
}

export const deviceConfiguration = ({ log, gate, devices, configurations }: Deps) =>
  endpoint(log, 'GET /api/v1/admin/devices/:id/config', gate.admin(), async (c) => {
    const { id } = await devices.get(idOf(c))
    const configuration = await configurations.read(id)
    c.get('headers').ETag = entityTag(configuration.version)
    if (isUnchanged(c, configuration.version)) return reply(c, 304, undefined)
    return reply(c, 200, { status: 'success', device_id: id, ...configurationView(configuration) })
  })

export const handler = lambda(async () =>
  deviceConfiguration({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    configurations: await runtime.configurationStore(),
  }),
)
