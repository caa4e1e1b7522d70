/** GET /api/v1/admin/devices: the registered devices, page by page. */

import * as z from 'zod'
import { type ConfigurationStore, versionsView } from '../../lib/configuration/configurations.ts'
import { deletedDeviceView } from '../../lib/devices/deleted-devices.ts'
import { deviceView, isOnline } from '../../lib/devices/device.ts'
import { cursorOf, deviceSorts, type Place, parseCursor } from '../../lib/devices/device-order.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { deviceStatus } from '../../lib/devices/fields.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { optionalParameter, pageLimit } from '../../lib/parameters.ts'
import { selectorText } from '../../lib/registry/selector.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

const notGiven = 'is not one that this query gave'

const listCursor = z
  .string()
  .regex(/^[\w-]{1,2048}$/, notGiven)
  .meta({ description: 'Continues after the previous page of the same query: its `next_cursor`.' })
  .transform((text, issue): Place => {
    const place = parseCursor(text)
    if (place !== undefined) return place
    issue.addIssue(notGiven)
    return z.NEVER
  })

const Query = z.object({
  status: optionalParameter(deviceStatus),
  device_type: optionalParameter(z.string().max(64)),
  q: optionalParameter(z.string().max(128)),
  selector: optionalParameter(selectorText),
  deleted: optionalParameter(z.enum(['true', 'false'], 'must be true or false')),
  limit: optionalParameter(pageLimit(1000)),
  online: optionalParameter(z.enum(['true', 'false'], 'must be true or false')),
  configuration: optionalParameter(z.enum(['pending', 'in_sync'], 'must be pending or in_sync')),
  sort: optionalParameter(z.enum(deviceSorts, `must be one of ${deviceSorts.join(', ')}`)),
  order: optionalParameter(z.enum(['asc', 'desc'], 'must be asc or desc')),
  cursor: optionalParameter(listCursor),
})

export const documentation = () =>
  describeRoute({
    summary: 'Lists devices',
    query: Query,
    exampleQuery: { status: 'active', limit: 50 },
    fieldDescriptions: {
      status: 'Only devices of this status.',
      device_type: 'Only devices of this type.',
      q: 'Part of the name, the location or the description; capitals do not matter.',
      deleted:
        '`true` lists deleted devices whose telemetry stayed, instead of the registered ones; `selector`, `status`, `online`, `configuration`, `sort` and `order` do not count then.',
      online: 'Only devices that are online, or only those that are not.',
      configuration:
        '`pending`: only devices that do not say that they run the newest version of their configuration; `in_sync`: the others.',
      sort: '`id` if left out. Devices that are equal there stand in the order of their ids.',
      order: '`asc` if left out.',
    },
    responses: {
      200: json(
        'In the order that was asked for.',
        z.strictObject({
          status: fields.success,
          total_devices: fields.count.describe('Devices that fit, on all pages.'),
          devices: z.array(z.union([deviceResponses.listedDevice, deviceResponses.deletedDevice])),
          next_cursor: fields.nextCursor,
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/devices'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  devices: Devices
  configurations: Pick<ConfigurationStore, 'versions'>
}

export const listDevices = ({ devices, configurations, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { device_type: deviceType, q, deleted, limit = 100, cursor, ...registered } = queryOf(c, Query)
    const filter = { deviceType, q, limit }
    if (deleted === 'true') {
      // One device more than the limit tells whether there is a next page.
      const found = await devices.listDeleted({ ...filter, limit: limit + 1, after: cursor?.id })
      const listed = found.devices.slice(0, limit)
      return reply(c, 200, {
        status: 'success',
        total_devices: found.total,
        devices: listed.map(deletedDeviceView),
        ...(found.devices.length > limit ? { next_cursor: String(listed.at(-1)?.id) } : {}),
      })
    }
    const { status, selector, online, configuration, sort, order } = registered
    const page = await devices.list({
      ...filter,
      status,
      selector,
      online: online === undefined ? undefined : online === 'true',
      configuration,
      sort,
      descending: order === 'desc',
      after: cursor,
    })
    const versions = await configurations.versions(page.devices.map(({ id }) => id))
    const now = Date.now()
    return reply(c, 200, {
      status: 'success',
      total_devices: page.total,
      devices: page.devices.map((device) => ({
        ...deviceView(device),
        is_online: isOnline(device, now),
        ...versionsView(versions.get(device.id)),
      })),
      ...(page.next === undefined ? {} : { next_cursor: cursorOf(page.next) }),
    })
  })

export const handler = serve(listDevices, {
  devices: runtime.devices,
  configurations: runtime.configurationStore,
})
