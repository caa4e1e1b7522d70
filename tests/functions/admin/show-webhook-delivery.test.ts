import { describe, expect, it } from 'vitest'
import { itIsForAdminsOnly } from './refusals.ts'
import { unknownIds, withWebhooks } from './webhook-calls.ts'

const calls = withWebhooks()
const { create, delivery, test, deliveries, sweep } = calls
const tested = async () => {
  const { id } = (await create({ events: ['device.registered'] })).json.webhook
  return { id, deliveryId: (await test(id)).json.delivery_id as number }
}

describe('a delivery', () => {
  itIsForAdminsOnly(
    () => calls.functions,
    async (options) => {
      const { id, deliveryId } = await tested()
      return delivery(id, deliveryId, options)
    },
  )

  it('is shown with its message as the receiver got it, and with each attempt', async () => {
    const { id } = (await create({ name: 'shown', events: ['device.registered'] })).json.webhook
    const device = await calls.functions.register({ name: 'Sensor with a "name"' })
    await sweep()
    const [row] = (await deliveries(id)).json.deliveries
    const { json } = await delivery(id, row.id)
    expect(json.delivery).toMatchObject({
      ...row,
      attempts: [{ status_code: 204, error: null, answer: '' }],
    })
    const got = calls.receiver.received.find((message) => message.id === row.event_id)
    expect(json.delivery.body).toEqual(got?.body)
    expect(json.delivery.body.data).toMatchObject({
      device_id: device.id,
      device_name: 'Sensor with a "name"',
    })
    expect(JSON.stringify(json)).not.toContain(device.key)
  })

  it('of another webhook is 404, as one that there is not', async () => {
    const { id, deliveryId } = await tested()
    const other = (await create({ events: ['alert.*'] })).json.webhook.id
    expect((await delivery(id, deliveryId)).status).toBe(200)
    expect((await delivery(other, deliveryId)).status).toBe(404)
    for (const unknown of unknownIds) {
      expect((await delivery(id, unknown)).status, unknown).toBe(404)
      expect((await delivery(unknown, deliveryId)).status, unknown).toBe(404)
    }
  })
})
