/** Webhooks in plain words. */
import type { Tone } from '../../ui/status.tsx'
import type { Attempt, Delivery, Webhook } from './answers.ts'

/** The kinds of events with their types, as the API names them. */
export const eventGroups = [
  { kind: 'alert', text: 'Alerts', types: ['opened', 'acknowledged', 'cleared'] },
  { kind: 'device', text: 'Devices', types: ['registered', 'online', 'offline'] },
  {
    kind: 'command',
    text: 'Commands',
    types: ['sent', 'acknowledged', 'succeeded', 'failed', 'expired', 'cancelled'],
  },
] as const

export const toneOfDelivery: Readonly<Record<Delivery['status'], Tone>> = {
  pending: 'accent',
  delivered: 'good',
  failed: 'bad',
  cancelled: 'neutral',
}

/** `on`, `off`, `failing` or `paused`, with its colour. @param now ms since the epoch. */
export function stateOf(webhook: Webhook, now: number): { readonly text: string; readonly tone: Tone } {
  if (!webhook.enabled) return { text: 'off', tone: webhook.disabled_reason === null ? 'neutral' : 'bad' }
  if (webhook.paused_until !== null && Date.parse(webhook.paused_until) > now)
    return { text: 'paused', tone: 'bad' }
  return webhook.failures > 0 ? { text: 'failing', tone: 'warn' } : { text: 'on', tone: 'good' }
}

/** `200 in 12 ms`, `no answer after 10,000 ms`. */
export const attemptText = ({ status_code: status, duration_ms: ms }: Attempt) =>
  status === null ? `no answer after ${ms.toLocaleString()} ms` : `${status} in ${ms.toLocaleString()} ms`
