/** Webhooks and their deliveries as commands name and print them. */
import type { Answer } from '../api.ts'
import type { Cell } from '../output.ts'

export const webhooksPath = '/api/v1/admin/webhooks'

/** The path of a webhook. @param id as it was typed. */
export const webhookPath = (id: string): string => `${webhooksPath}/${encodeURIComponent(id)}`

/** The path of a delivery. @param id as it was typed. */
export const deliveryPath = (webhook: string, id: string): string =>
  `${webhookPath(webhook)}/deliveries/${encodeURIComponent(id)}`

/** Whether it is told of events now, and why not. */
export function stateText(webhook: Answer): string {
  if (!webhook.enabled)
    return webhook.disabled_reason === null ? 'disabled' : `disabled: ${webhook.disabled_reason}`
  return webhook.paused_until === null ? 'enabled' : `fails, paused until ${webhook.paused_until}`
}

export const webhookFields = (webhook: Answer): (readonly [name: string, value: Cell])[] => [
  ['id', webhook.id],
  ['name', webhook.name],
  ['address', webhook.url],
  ['events', webhook.events.join(', ')],
  ['state', stateText(webhook)],
  ['failures in a row', webhook.failures],
  ['waiting', webhook.pending],
  ['made', webhook.created_at],
  ['changed', webhook.updated_at],
]

/** Event types of an option: `alert.*,device.offline`. */
export const eventsOf = (text: string | undefined): string[] | undefined =>
  text
    ?.split(',')
    .map((type) => type.trim())
    .filter((type) => type !== '')

export const eventsHelp =
  'types of events, with commas: alert.opened, alert.*, device.offline, command.*, * for all'
