/** GET /api/v1/devices/config: the configuration that is desired of the device that asks. */
import type { ConfigurationStore } from '../../lib/commands/configuration.ts'
import type { Device } from '../../lib/devices/device.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { entityTag, isUnchanged } from '../../lib/http/versions.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  configurations: Pick<ConfigurationStore, 'read'>
}

export const ownConfiguration = ({ log, gate, configurations }: Deps) =>
  endpoint(log, 'GET /api/v1/devices/config', gate.device('requests'), async (c, { id }) => {
    const { version, entries } = await configurations.read(id)
    c.get('headers').ETag = entityTag(version)
    if (isUnchanged(c, version)) return reply(c, 304, undefined)
    return reply(c, 200, { status: 'success', device_id: id, version, configuration: entries })
  })

export const handler = lambda(async () =>
  ownConfiguration({
    log: runtime.log(),
    gate: await runtime.gate(),
    configurations: await runtime.configurationStore(),
  }),
)
