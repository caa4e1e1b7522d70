/** Labels, rules and webhooks around the office fleet, so that the pages of alerts have something to show. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Dashboard } from './browser.ts'

const asAdmin = async (
  { server, asAdmin: headers }: Dashboard,
  method: string,
  path: string,
  body?: unknown,
) => {
  const answer = await server.request(method, `/api/v1/admin/${path}`, { headers, body })
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`)
  return answer.body
}

const rules = [
  {
    name: 'Stale air',
    severity: 'critical',
    target: { selector: 'site=north' },
    condition: { kind: 'threshold', field: 'co2', op: '>', value: 400, clear_value: 380, clear_for: '1m' },
  },
  {
    name: 'Room too warm',
    severity: 'warning',
    target: { device_type: 'temperature', selector: 'site=north' },
    condition: { kind: 'threshold', field: 'temperature', op: '>', value: 10, for: '10s' },
  },
  {
    name: 'Freezing',
    severity: 'critical',
    target: { device_type: 'temperature' },
    condition: { kind: 'threshold', field: 'temperature', op: '<', value: 4, for: '5m' },
  },
  { name: 'Silent sensor', target: {}, condition: { kind: 'no_data', for: '15m' } },
  { name: 'Camera gone', target: { device_type: 'camera' }, condition: { kind: 'offline', for: '2m' } },
  {
    name: 'Broken messages',
    severity: 'info',
    enabled: false,
    target: { selector: 'floor in (1,2)' },
    condition: { kind: 'dead_letters', count: 3, within: '1h' },
  },
]

/** @param url of a receiver that takes every message. */
export async function watchFleet(dashboard: Dashboard, url: string): Promise<void> {
  await asAdmin(dashboard, 'POST', 'webhooks', {
    name: 'On-call',
    url,
    events: ['alert.*', 'device.offline'],
  })
  await asAdmin(dashboard, 'POST', 'webhooks', {
    name: 'Office chat',
    url: 'https://chat.example.com/hooks/office',
    events: ['alert.opened'],
  })
  let devices: { id: number; name: string }[] = []
  // All of them register at once, but one after the other is written.
  for (let before = -1; devices.length === 0 || devices.length > before; await sleep(2000)) {
    before = devices.length
    devices = (await asAdmin(dashboard, 'GET', 'devices?limit=1000')).devices
  }
  for (const { id } of devices) {
    const labels = { site: id % 3 === 0 ? 'south' : 'north', floor: String(1 + (id % 4)) }
    await asAdmin(dashboard, 'PUT', `devices/${id}`, { labels })
  }
  for (const rule of rules) await asAdmin(dashboard, 'POST', 'alert-rules', rule)
}

/** Acknowledges the oldest open alert, and takes the device of the newest one into maintenance for a moment, which clears it. */
export async function tendAlerts(dashboard: Dashboard): Promise<void> {
  const { alerts } = await asAdmin(dashboard, 'GET', 'alerts?state=open')
  const [newest, oldest] = [alerts[0], alerts.at(-1)]
  if (newest === undefined || oldest === newest) throw new Error('too few alerts are open')
  await asAdmin(dashboard, 'POST', `alerts/${oldest.id}/acknowledge`, {
    note: 'The windows are being opened.',
  })
  for (const status of ['maintenance', 'active']) {
    await asAdmin(dashboard, 'PUT', `devices/${newest.device_id}/status`, { status })
    await sleep(15_000)
  }
}
