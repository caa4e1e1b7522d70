/** POST /api/v1/devices/config: sets one key of the configuration that is desired of the device itself. */
import * as z from 'zod'
import { type Configurations, dataTypes, typedValue } from '../../lib/commands/configuration.ts'
import { configurationKey, jsonValue } from '../../lib/commands/fields.ts'
import type { Device } from '../../lib/devices/device.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import { AppError } from '../../lib/errors.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'

export const Body = z.object(
  {
    config_key: configurationKey,
    config_value: jsonValue,
    data_type: z.enum(dataTypes, `must be one of ${dataTypes.join(', ')}`).default('string'),
  },
  notAnObject,
)

interface Deps {
  log: Log
  gate: Gate<Device>
  configurations: Pick<Configurations, 'change'>
}

export const configureOwnDevice = ({ log, gate, configurations }: Deps) =>
  endpoint(log, 'POST /api/v1/devices/config', gate.device('requests'), async (c, device) => {
    const { config_key: key, config_value: given, data_type: dataType } = await jsonBody(c, Body)
    const value = typedValue(given, dataType)
    if (value === undefined) {
      throw new AppError('VALIDATION_FAILED', `The value does not fit the type ${dataType}.`, {
        details: [{ path: 'config_value', message: `is not of the type ${dataType}` }],
      })
    }
    const change = { [key]: { value, dataType } }
    const { version } = await configurations.change(device.id, change, { by: 'device' })
    return reply(c, 200, {
      status: 'success',
      message: 'Configuration updated successfully',
      config_key: key,
      config_value: value,
      data_type: dataType,
      version,
    })
  })

export const handler = lambda(async () =>
  configureOwnDevice({
    log: runtime.log(),
    gate: await runtime.gate(),
    configurations: await runtime.configurations(),
  }),
)
