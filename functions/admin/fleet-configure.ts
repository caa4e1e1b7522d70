/** PUT /api/v1/admin/fleet/config: changes the desired configuration of every device that fits a filter. */
import * as z from 'zod'
import { changesOf } from '../../lib/configuration/configurations.ts'
import { configurationChanges } from '../../lib/configuration/fields.ts'
import { fleetConfigurationView } from '../../lib/configuration/fleet-configuration-reader.ts'
import type { FleetConfigurations } from '../../lib/configuration/fleet-configurations.ts'
import * as configurationResponses from '../../lib/configuration/responses.ts'
import { notAnObject } from '../../lib/devices/fields.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { jsonBody } from '../../lib/http/validate.ts'
import { selectorText } from '../../lib/registry/selector.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const maxIds = 10_000

const filterFields = {
  device_type: z.string().min(1).max(64).optional(),
  location: z.string().min(1).max(256).optional(),
  selector: selectorText.optional(),
  ids: z
    .array(fields.deviceId, 'must be a list of ids')
    .min(1, 'must not be empty')
    .max(maxIds, `must have at most ${maxIds} ids`)
    .optional(),
}

/** An unknown name is refused here: a misspelt one would make the filter fit more devices than meant. */
const Filter = z.looseObject(filterFields, 'must be an object').superRefine((filter, { addIssue }) => {
  for (const name of Object.keys(filter))
    if (!Object.hasOwn(filterFields, name))
      addIssue({ code: 'custom', path: [name], message: 'is not device_type, location, selector or ids' })
})

const Body = z.object({ filter: Filter, configuration: configurationChanges }, notAnObject)

export const documentation = () =>
  describeRoute({
    summary: 'Changes the desired configuration of many devices',
    description:
      'A device that fits every part of the filter gets the named keys; null deletes one. An empty filter is the whole fleet. The devices are those of now. The change is applied in slices, each device wholly or not at all, and published at a bounded rate; both go on after a restart.',
    body: {
      schema: Body,
      required: true,
      examples: {
        'one type': {
          filter: { device_type: 'climate' },
          configuration: { sampling_interval: 30, led: null },
        },
      },
    },
    fieldDescriptions: {
      filter:
        '`device_type`, `location`, `ids`: whole values; `selector`: by labels. All that are given count.',
    },
    responses: {
      202: json(
        'It is being applied.',
        z.strictObject({
          status: fields.success,
          message: z.string(),
          ...configurationResponses.fleetConfiguration.shape,
        }),
      ),
    },
    errors: [409],
  })

export const route = defineRoute({
  addresses: ['PUT /api/v1/admin/fleet/config'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  fleetConfigurations: Pick<FleetConfigurations, 'create'>
}

export const configureFleet = ({ fleetConfigurations, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { filter, configuration } = await jsonBody(c, Body)
    const { device_type: deviceType, location, selector, ids } = filter
    const created = await fleetConfigurations.create(
      { deviceType, location, selector, ids },
      filter,
      changesOf(configuration),
    )
    return reply(c, 202, {
      status: 'success',
      message: 'The change is being applied',
      ...fleetConfigurationView(created),
    })
  })

export const handler = serve(configureFleet, { fleetConfigurations: runtime.fleetConfigurations })
