// Checks the messages of IoTFlow and hands them on to Slack, Microsoft Teams or PagerDuty. Node 20, no packages.
//   WEBHOOK_SECRET=whsec_… TARGET=slack TARGET_URL=https://hooks.slack.com/services/… node examples/node/webhook-relay.mjs
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'

const {
  WEBHOOK_SECRET = '',
  TARGET = 'slack',
  TARGET_URL = '',
  ROUTING_KEY = '',
  PORT = '8080',
} = process.env
const key = Buffer.from(WEBHOOK_SECRET.replace('whsec_', ''), 'base64')

/** Whether one of the signatures is by the secret, and the message is not older than five minutes. */
const isGenuine = (headers, body) => {
  const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signatures = '' } = headers
  const wanted = Buffer.from(`v1,${createHmac('sha256', key).update(`${id}.${at}.${body}`).digest('base64')}`)
  const isRecent = Math.abs(Date.now() / 1000 - Number(at)) < 300
  const equals = (one) => one.length === wanted.length && timingSafeEqual(one, wanted)
  return isRecent && signatures.split(' ').some((one) => equals(Buffer.from(one)))
}

const textOf = ({ type, data }) =>
  [type, data.device_name, data.severity, data.rule_name, data.command, JSON.stringify(data.opened_value)]
    .filter(Boolean)
    .join(' · ')

/** The body that each of them wants. */
const bodies = {
  slack: (event) => ({ text: textOf(event) }),
  teams: (event) => ({
    type: 'message',
    attachments: [
      {
        contentType: 'application/vnd.microsoft.card.adaptive',
        content: {
          type: 'AdaptiveCard',
          version: '1.4',
          body: [{ type: 'TextBlock', text: textOf(event), wrap: true }],
        },
      },
    ],
  }),
  pagerduty: ({ type, data }) => ({
    routing_key: ROUTING_KEY,
    event_action: { 'alert.cleared': 'resolve', 'alert.acknowledged': 'acknowledge' }[type] ?? 'trigger',
    dedup_key: `iotflow-${data.alert_id ?? data.device_id}`,
    payload: {
      summary: textOf({ type, data }),
      source: data.device_name ?? 'IoTFlow',
      severity: data.severity ?? 'warning',
    },
  }),
}

createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  if (!isGenuine(request.headers, body)) return response.writeHead(401).end()
  const answer = await fetch(TARGET_URL, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(bodies[TARGET](JSON.parse(body))),
  }).catch(() => undefined)
  // IoTFlow tries again what the target did not take.
  response.writeHead(answer?.ok ? 204 : 502).end()
}).listen(Number(PORT), () => console.log(`relay to ${TARGET} on port ${PORT}`))
