/** Webhooks: the addresses that are told what happens. */
import { useState } from 'preact/hooks'
import { get } from '../../api.ts'
import { useCursors } from '../../cursors.ts'
import { useEvery } from '../../every.ts'
import { count } from '../../format.ts'
import { useResource } from '../../resource.ts'
import { href } from '../../router.ts'
import { Button } from '../../ui/button.tsx'
import { PageHead } from '../../ui/layout.tsx'
import { EmptyState, ErrorNotice, Loading, Pager } from '../../ui/states.tsx'
import { type Column, Table } from '../../ui/table.tsx'
import type { Webhook, WebhookList } from './answers.ts'
import { WebhookState } from './state.tsx'
import { SettingsNav } from './sub-nav.tsx'
import { WebhookDialog } from './webhook-form.tsx'

/** Loaded with this page: each file more is a request more. */
export { WebhookPage } from './webhook.tsx'

const pageSize = 50
const refreshMs = 10_000

const columns: readonly Column<Webhook>[] = [
  {
    name: 'Name',
    cell: ({ id, name }) => (
      <a class="device-name" href={href(`/settings/webhooks/${id}`)}>
        {name}
      </a>
    ),
  },
  { name: 'Address', text: true, cell: ({ url }) => <code class="small">{url}</code> },
  {
    name: 'Events',
    cell: ({ events }) => <span class="small">{events.join(', ')}</span>,
  },
  { name: 'State', cell: (webhook) => <WebhookState webhook={webhook} /> },
  { name: 'Waiting', number: true, cell: ({ pending }) => count(pending) },
]

export const WebhooksPage = () => {
  const { page, cursor, go } = useCursors('webhooks')
  const list = useResource(`webhooks ${cursor}`, (signal) =>
    get<WebhookList>('admin/webhooks', { limit: pageSize, cursor }, { signal }),
  )
  const [isCreating, setCreating] = useState(false)
  useEvery(refreshMs, () => {
    if (!list.loading) list.reload()
  })
  const webhooks = list.value?.webhooks ?? []
  return (
    <>
      <PageHead
        title="Webhooks"
        lead="Addresses that are told of alerts, devices and commands, with signed messages that are tried for a day."
        actions={
          <Button kind="primary" icon="plus" onClick={() => setCreating(true)}>
            New webhook
          </Button>
        }
      />
      <SettingsNav />
      {list.error && <ErrorNotice error={list.error} onRetry={list.reload} />}
      {list.value === undefined && list.error === undefined && <Loading lines={5} />}
      {list.value !== undefined && webhooks.length === 0 && page === 0 && (
        <EmptyState icon="hook" title="Nobody is told yet">
          A webhook sends each event to an address of yours: a chat, a pager, or a program.
        </EmptyState>
      )}
      {webhooks.length > 0 && (
        <>
          <Table caption="Webhooks" columns={columns} rows={webhooks} keyOf={({ id }) => id} />
          {(page > 0 || list.value?.next_cursor !== undefined) && (
            <Pager
              page={page}
              pageSize={pageSize}
              shown={webhooks.length}
              hasNext={list.value?.next_cursor !== undefined}
              onPage={(to) => go(to, list.value?.next_cursor)}
            />
          )}
        </>
      )}
      {isCreating && <WebhookDialog onClose={() => setCreating(false)} onSaved={list.reload} />}
    </>
  )
}
