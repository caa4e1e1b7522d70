/** Whether a webhook works, and why not. */
import { count } from '../../format.ts'
import { Badge } from '../../ui/status.tsx'
import { Time, useNow } from '../../ui/time.tsx'
import type { Webhook } from './answers.ts'
import { stateOf } from './words.ts'

const Why = ({ webhook, text }: { webhook: Webhook; text: string }) => {
  if (text === 'on' || (text === 'off' && webhook.disabled_reason === null)) return null
  if (text === 'off') return <span class="small muted">{webhook.disabled_reason}</span>
  return (
    <span class="small muted">
      {`failed ${count(webhook.failures)} ${webhook.failures === 1 ? 'time' : 'times'}`}
      {webhook.paused_until !== null && text === 'paused' && (
        <>
          , again <Time time={webhook.paused_until} />
        </>
      )}
    </span>
  )
}

export const WebhookState = ({ webhook }: { webhook: Webhook }) => {
  const { text, tone } = stateOf(webhook, useNow())
  return (
    <span class="badges">
      <Badge tone={tone}>{text}</Badge>
      <Why webhook={webhook} text={text} />
    </span>
  )
}
