/** POST /api/v1/admin/devices/import: registers many devices from a file, and with `upsert` changes those that exist. */

import * as z from 'zod'
import type { Alerts } from '../../lib/alerts/alerts.ts'
import { clearLeavers } from '../../lib/alerts/leavers.ts'
import type { Sessions } from '../../lib/broker/sessions.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { type ImportFormat, importColumns, readImport } from '../../lib/devices/import-file.ts'
import * as deviceResponses from '../../lib/devices/responses.ts'
import { AppError } from '../../lib/errors.ts'
import { readBytes } from '../../lib/http/body.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { queryOf } from '../../lib/http/validate.ts'
import { flagParameter } from '../../lib/parameters.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

/** Largest file, bytes, also when it is decompressed: 10,000 rows of 400 bytes. */
const maxFileBytes = 4 * 1024 * 1024
/** A function in the cloud has 10 s; each key of the answer counts for its size there. */
const maxRows = { local: 10_000, deployed: 1000 } as const

const csvTypes = ['text/csv']
const ndjsonTypes = ['application/x-ndjson', 'application/ndjson', 'application/jsonl']

const Query = z.object({ dry_run: flagParameter, upsert: flagParameter })

export const documentation = () =>
  describeRoute({
    summary: 'Registers many devices from a file',
    description: `CSV with a header, or one JSON object in each line. Columns: ${importColumns.join(', ')}, and \`label.<key>\` for single labels; others are ignored. Rows that are not valid are reported, the other rows are imported. At most ${maxRows.local} rows and 4 MiB, deployed ${maxRows.deployed} rows.`,
    query: Query,
    exampleQuery: { dry_run: 'true' },
    fieldDescriptions: {
      dry_run: 'Only reports what would be done.',
      upsert:
        'Changes devices whose name exists: fields of the row replace theirs, absent ones and empty cells stay, null clears one; labels are added to theirs. Otherwise such a row is an error.',
    },
    body: {
      schema: { type: 'string', minLength: 1 },
      contentTypes: ['text/csv', 'application/x-ndjson'],
      required: true,
      examples: {
        'text/csv': 'name,device_type,location\ngreenhouse-1,temperature,Greenhouse\n',
        'application/x-ndjson': '{"name":"greenhouse-2","device_type":"temperature"}\n',
      },
    },
    responses: {
      200: json(
        'What was done with each row.',
        z.strictObject({
          status: fields.success,
          dry_run: z.boolean(),
          created: fields.count,
          updated: fields.count,
          errors: z
            .array(
              z.strictObject({
                row: z.int().min(1).describe('As an editor shows it: the header of a CSV is row 1.'),
                name: z.string().optional(),
                reason: z.string(),
              }),
            )
            .describe('Rows that were not imported.'),
          keys: z
            .array(
              z.strictObject({
                row: z.int().min(1),
                id: fields.deviceId,
                name: z.string(),
                api_key: deviceResponses.apiKey,
              }),
            )
            .describe(
              'The keys of the devices that were registered: they are shown here and by a rotation only.',
            ),
        }),
      ),
    },
  })

export const route = defineRoute({
  addresses: ['POST /api/v1/admin/devices/import'],
  access: 'admin',
  documentation: typedBy<typeof documentation>(),
})

const formatOf = (contentType: string | undefined, bytes: Uint8Array): ImportFormat => {
  if (contentType !== undefined) return contentType.toLowerCase().startsWith('text/csv') ? 'csv' : 'ndjson'
  return Buffer.from(bytes.subarray(0, 256)).toString().trimStart().startsWith('{') ? 'ndjson' : 'csv'
}

interface Deps extends EndpointDeps {
  devices: Pick<Devices, 'importRows'>
  sessions: Sessions
  alerts: Pick<Alerts, 'clearOf'>
  stage: string
}

export const importDevices = ({ devices, sessions, alerts, stage, ...shared }: Deps) =>
  endpoint(route, shared, async (c, reply) => {
    const { dry_run: dryRun, upsert } = queryOf(c, Query)
    const bytes = await readBytes(c, { accepts: [...csvTypes, ...ndjsonTypes], maxBytes: maxFileBytes })
    if (bytes.length === 0) throw new AppError('BAD_REQUEST', 'The body is empty: a file is expected.')
    const format = formatOf(c.req.header('content-type'), bytes)
    const rows = readImport(bytes, format, stage === 'local' ? maxRows.local : maxRows.deployed)
    const { created, updated, errors, keys, switched } = await devices.importRows(rows, { upsert, dryRun })
    for (const { id, status } of switched) if (status === 'inactive') await sessions.end(id)
    if (switched.length > 0) await clearLeavers(switched, { alerts, log: shared.log })
    return reply(c, 200, {
      status: 'success',
      dry_run: dryRun,
      created,
      updated,
      errors: errors.map(({ row, name, reason }) => ({
        row,
        ...(name === undefined ? {} : { name }),
        reason,
      })),
      keys: keys.map(({ row, id, name, apiKey }) => ({ row, id, name, api_key: apiKey })),
    })
  })

export const handler = serve(importDevices, {
  devices: runtime.devices,
  sessions: runtime.sessions,
  alerts: runtime.alerts,
  stage: () => runtime.config().stage,
})
