/** `iotflow device show`: one device with its keys, its account and its newest events. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import { type Cell, tableOf } from '../output.ts'
import { labelText } from './label-text.ts'

interface KeyRecord {
  readonly key_prefix: string
  readonly is_active: boolean
  readonly created_at: string
  readonly expires_at: string | null
  readonly last_used_at: string | null
}

export const addShowDevice = (to: Command) =>
  to
    .command('show')
    .description('shows a device with its keys, its readings and its newest events')
    .argument('<device>', 'its id or its name')
    .addHelpText('after', examples('iotflow device show 7', 'iotflow device show greenhouse-1 --json'))
    .action(
      action(async ({ api, output }, _options: object, name: string) => {
        const server = await api()
        const { id } = await server.device(name)
        const { status: _status, ...details } = await server.get(`/api/v1/admin/devices/${id}`)
        const { events } = await server.get(`/api/v1/admin/devices/${id}/events`, { limit: 10 })
        const keys = details.auth_records as readonly KeyRecord[]
        await output.result({ ...details, events }, () => {
          const { labels, ...fields } = details.device
          const pairs: (readonly Cell[])[] = [
            ...Object.entries(fields as Record<string, Cell>),
            ['labels', labelText(labels)],
          ]
          const account = Object.entries((details.accounting ?? {}) as Record<string, Cell>)
          return [
            tableOf(['field', 'value'], [...pairs, ...account]),
            tableOf(
              ['key', 'valid', 'made', 'expires', 'last used'],
              keys.map((key) => [
                `${key.key_prefix}…`,
                key.is_active ? 'yes' : 'no',
                key.created_at,
                key.expires_at,
                key.last_used_at,
              ]),
            ),
            tableOf(
              ['time', 'event', 'detail'],
              events.map(({ timestamp, event, detail }: Record<string, string>) => [
                timestamp,
                event,
                detail && JSON.stringify(detail),
              ]),
            ),
          ].join('\n')
        })
      }),
    )
