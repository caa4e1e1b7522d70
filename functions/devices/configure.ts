/** POST /api/v1/devices/config: sets one key of the desired configuration of the calling device. */

import * as z from 'zod'
import {
  type Configurations,
  type DataType,
  dataTypeOf,
  dataTypes,
  typedValue,
} from '../../lib/configuration/configurations.ts'
import { configurationKey, jsonValue } from '../../lib/configuration/fields.ts'
import * as configurationResponses from '../../lib/configuration/responses.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import { AppError } from '../../lib/errors.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const Body = z.object(
  {
    config_key: configurationKey,
    config_value: jsonValue,
    data_type: z.enum(dataTypes, `must be one of ${dataTypes.join(', ')}`).optional(),
  },
  notAnObject,
)

const ruleFor = (type: DataType, value: unknown) => ({
  if: { properties: { data_type: { const: type } }, required: ['data_type'] },
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema.
  then: { properties: { config_value: value } },
})
const wholePattern = '-?(?:0|[1-9][0-9]{0,14})'
/** JSON Schema for a value that fits `data_type`; a function, so that bundles leave it out. */
const valueFitsType = () => ({
  allOf: [
    ruleFor('string', { type: 'string' }),
    ruleFor('integer', {
      anyOf: [
        { type: 'integer', minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER },
        { type: 'string', pattern: `^${wholePattern}$` },
      ],
    }),
    ruleFor('float', {
      anyOf: [{ type: 'number' }, { type: 'string', pattern: `^${wholePattern}(?:\\.[0-9]{1,15})?$` }],
    }),
    ruleFor('boolean', { anyOf: [{ type: 'boolean' }, { enum: ['true', 'false'] }] }),
  ],
})

export const documentation = () =>
  describeRoute({
    summary: 'Sets one key of the configuration that is desired of the device',
    description: 'A device has at most 128 keys.',
    body: {
      schema: Body,
      required: true,
      rules: valueFitsType(),
      examples: { interval: { config_key: 'sampling_interval', config_value: 30, data_type: 'integer' } },
    },
    fieldDescriptions: {
      config_value: 'Of the type that `data_type` names; text is taken for numbers, booleans and JSON.',
      data_type: 'Left out: the type of the value as it is in JSON.',
    },
    responses: {
      200: json(
        'The key as it is now.',
        z.strictObject({
          status: fields.success,
          message: z.string(),
          config_key: z.string(),
          config_value: configurationResponses.value,
          data_type: configurationResponses.dataType,
          version: configurationResponses.version,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/devices/config'],
  access: 'device',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  configurations: Pick<Configurations, 'change'>
}

export const configureOwnDevice = ({ configurations, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply, device) => {
    const body = await jsonBody(c, Body)
    const { config_key: key, config_value: given, data_type: dataType = dataTypeOf(given) } = body
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

export const handler = serve(configureOwnDevice, { configurations: runtime.configurations })
