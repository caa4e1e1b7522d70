/** GET /api/v1/admin/devices/{id}: all that is known of one device. */
import { type ConfigurationStore, configurationView } from '../../lib/commands/configuration.ts'
import { type Device, deviceDetails } from '../../lib/devices/device.ts'
import { credentialView, type Devices } from '../../lib/devices/devices.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { idOf } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import { accountView } from '../../lib/telemetry/intake.ts'
import type { Telemetry } from '../../lib/telemetry/telemetry.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  devices: Devices
  configurations: Pick<ConfigurationStore, 'read'>
  telemetry: Pick<Telemetry, 'count' | 'account'>
  /** See {@link accountView}. */
  exact: boolean
}

export const showDevice = ({ log, gate, devices, configurations, telemetry, exact }: Deps) =>
  endpoint(log, 'GET /api/v1/admin/devices/:id', gate.admin(), async (c) => {
    const device = await devices.get(idOf(c))
    const [credentials, configuration, stored, account] = await Promise.all([
      devices.credentials(device.id),
      configurations.read(device.id),
      telemetry.count(device.id),
      telemetry.account(device.id),
    ])
    return reply(c, 200, {
      status: 'success',
      device: { ...deviceDetails(device, Date.now()), telemetry_count: stored },
      auth_records: credentials.map((credential) => credentialView(credential, Date.now())),
      configurations: configurationView(configuration),
      accounting: accountView(account, exact),
    })
  })

export const handler = lambda(async () =>
  showDevice({
    log: runtime.log(),
    gate: await runtime.gate(),
    devices: await runtime.devices(),
    configurations: await runtime.configurationStore(),
    telemetry: await runtime.telemetry(),
    exact: runtime.config().queue === undefined,
  }),
)
