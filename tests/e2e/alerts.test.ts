/** Alerts from a reading to the receiver of a webhook, over HTTP and MQTT, however the functions run. */
import mqtt from 'mqtt'
import { Webhook as Verifier } from 'standardwebhooks'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import { adminToken, type Deployment, deployments } from '../support/deployments.ts'
import { findSqld } from '../support/sqld.ts'
import { eventually } from '../support/waiting.ts'
import { type Received, type Receiver, startReceiver } from '../support/webhook-receiver.ts'

const settings = {
  WEBHOOK_PRIVATE_ADDRESSES: '127.0.0.1',
  WEBHOOK_SIGNING_KEY: 'signing-key-of-the-tests-0123456789',
}
const needs = { 'npm start': {}, 'npm run dev': {}, 'cloud bundles': { sqld: findSqld() !== undefined } }

for (const name of ['npm start', 'npm run dev', 'cloud bundles'] as const)
  describeWith(needs[name], `alerts with ${name}`, () => {
    let deployment: Deployment
    let receiver: Receiver
    beforeAll(async () => {
      receiver = await startReceiver()
      deployment = await deployments[name](settings)
    })
    afterAll(async () => {
      await deployment.stop()
      await receiver.close()
    })

    const call = async (method: string, path: string, body?: object, key?: string) => {
      const answer = await fetch(`${deployment.httpUrl}/api/v1/${path}`, {
        method,
        headers: {
          'Content-Type': 'application/json',
          ...(key === undefined ? { Authorization: `Bearer ${adminToken}` } : { 'X-API-Key': key }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
      // biome-ignore lint/suspicious/noExplicitAny: the documents of the API.
      const json = (await answer.json()) as any
      expect(answer.ok, JSON.stringify(json)).toBe(true)
      return json
    }
    const register = async (device: string) =>
      (await call('POST', 'devices/register', { name: device, device_type: 'boiler' })).device
    const told = (deviceId: number) =>
      receiver.received.filter(({ body }) => body.data.device_id === deviceId).map(({ body }) => body.type)
    /** What a schedule of the cloud does each minute. */
    const minute = async () => {
      await deployment.invoke?.('alerts-sweep', {})
      await deployment.invoke?.('webhooks-sweep', {})
    }

    it('are opened, acknowledged and cleared once each, in the list and at the receiver', {
      timeout: 240_000,
    }, async () => {
      const { secret } = await call('POST', 'admin/webhooks', {
        name: 'alerts',
        url: receiver.url,
        events: ['alert.*'],
      })
      const { rule } = await call('POST', 'admin/alert-rules', {
        name: 'Too hot',
        severity: 'critical',
        target: { device_type: 'boiler' },
        condition: { kind: 'threshold', field: 'temperature', op: '>', value: 90, clear_value: 80 },
      })
      const [byHttp, byMqtt] = [await register('by HTTP'), await register('by MQTT')]
      const client = await mqtt.connectAsync(deployment.mqttUrl, {
        clientId: String(byMqtt.id),
        username: String(byMqtt.id),
        password: byMqtt.api_key,
      })
      const send = async (temperature: number) => {
        await call('POST', 'telemetry', { temperature }, byHttp.api_key)
        const topic = `iotflow/devices/${byMqtt.id}/telemetry`
        await client.publishAsync(topic, JSON.stringify({ temperature }), { qos: 1 })
      }
      const alerts = async (state: string) => (await call('GET', `admin/alerts?state=${state}`)).alerts

      // A process that has not heard of the rule yet judges a reading that comes a few seconds later.
      const open = await eventually(async () => {
        await send(95)
        const found = await alerts('open')
        expect(found).toHaveLength(2)
        return found
      }, 1000)
      for (const alert of open)
        expect(alert).toMatchObject({
          rule_id: rule.id,
          severity: 'critical',
          state: 'open',
          opened_value: 95,
        })
      const { id } = open.find((alert: { device_id: number }) => alert.device_id === byHttp.id)
      await call('POST', `admin/alerts/${id}/acknowledge`, { note: 'On the way.' })
      expect(await alerts('acknowledged')).toMatchObject([{ id, acknowledged_note: 'On the way.' }])
      await send(85)
      await send(70)
      await eventually(async () => expect(await alerts('cleared')).toHaveLength(2), 250)
      await client.endAsync()

      await minute()
      const times = { timeout: 150_000, interval: 100 }
      await expect
        .poll(() => told(byHttp.id), times)
        .toEqual(['alert.opened', 'alert.acknowledged', 'alert.cleared'])
      await expect.poll(() => told(byMqtt.id), times).toEqual(['alert.opened', 'alert.cleared'])
      await minute()
      expect(receiver.received).toHaveLength(5)
      expect(new Set(receiver.received.map((message) => message.id)).size).toBe(5)
      const verifier = new Verifier(secret)
      for (const { text, headers, body } of receiver.received as Received[]) {
        expect(verifier.verify(text, headers as Record<string, string>)).toEqual(body)
        expect(body.data).toMatchObject({ rule_name: 'Too hot', severity: 'critical', opened_value: 95 })
      }
      const { history } = (await call('GET', `admin/alerts/${id}`)).alert
      expect(history.map((entry: { kind: string }) => entry.kind)).toEqual([
        'opened',
        'acknowledged',
        'cleared',
      ])
    })
  })
