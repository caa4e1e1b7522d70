/** GET /api/v1/admin/settings: the settings in effect, and where each comes from. Secrets are not shown. */
import * as z from 'zod'
import { describeSettings, type SettingDescription } from '../../lib/dashboard/settings.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () =>
  describeRoute({
    summary: 'Lists the settings in effect',
    responses: {
      200: json(
        'Every setting, by name.',
        z.strictObject({
          status: fields.success,
          settings: z.array(
            z.strictObject({
              name: z.string(),
              value: z
                .union([z.string(), z.number(), z.boolean()])
                .nullable()
                .describe('Null for a secret, and where nothing is set. Passwords in addresses are masked.'),
              source: z.enum(['default', 'environment', 'file', 'generated']).describe('`file`: `.env`.'),
              secret: z.boolean(),
              meaning: z.string(),
            }),
          ),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['GET /api/v1/admin/settings'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps {
  settings: readonly SettingDescription[]
}

export const listSettings = ({ settings, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) =>
    reply(c, 200, { status: 'success', settings: settings.map((one) => ({ ...one })) }),
  )

export const handler = serve(listSettings, { settings: () => describeSettings(runtime.config()) })
