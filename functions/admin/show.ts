/** GET /api/v1/admin/devices/{id}: a device with its keys, configuration and accounting. */
import * as z from 'zod'
import {
  type ConfigurationStore,
  configurationView,
  versionsView,
} from '../../lib/configuration/configurations.ts'
import * as configurationResponses from '../../lib/configuration/responses.ts'
import { credentialView } from '../../lib/devices/credentials.ts'
import { deviceDetails } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'
import { accountView } from '../../lib/telemetry/account.ts'
import * as telemetryResponses from '../../lib/telemetry/responses.ts'
import type { TelemetryReader } from '../../lib/telemetry/telemetry-reader.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Shows all that is known of a device',
    responses: {
      200: json(
        'The device, its keys and its configuration.',
        z.strictObject({
          status: fields.success,
          device: deviceResponses.shownDevice,
          auth_records: z.array(deviceResponses.authRecord).describe('Newest first.'),
          configurations: z.strictObject(configurationResponses.configuration),
          accounting: telemetryResponses.account.describe('Readings of the device, since it was registered.'),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/devices/:id'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  configurations: Pick<ConfigurationStore, 'read'>
  telemetry: Pick<TelemetryReader, 'count' | 'account'>
  /** See {@link accountView}. */
  exact: boolean
}

export const showDevice = ({ devices, configurations, telemetry, exact, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const device = await devices.get(idOf(c))
    const [credentials, configuration, telemetryCount, account] = await Promise.all([
      devices.credentials(device.id),
      configurations.read(device.id),
      telemetry.count(device.id),
      telemetry.account(device.id),
    ])
    return reply(c, 200, {
      status: 'success',
      device: {
        ...deviceDetails(device, Date.now()),
        telemetry_count: telemetryCount,
        ...versionsView(configuration),
      },
      auth_records: credentials.map((credential) => credentialView(credential, Date.now())),
      configurations: configurationView(configuration),
      accounting: accountView(account, exact),
    })
  })

export const handler = serve(showDevice, {
  devices: runtime.devices,
  configurations: runtime.configurationStore,
  telemetry: runtime.telemetryReader,
  exact: () => runtime.config().queue === undefined,
})
