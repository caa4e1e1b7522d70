import { describe, expect, it } from 'vitest'
import { itIsForAdminsOnly } from './refusals.ts'
import { unknownIds, withWebhooks } from './webhook-calls.ts'

const calls = withWebhooks()
const { create, retry, deliveries, update, show, test, sweep } = calls
const tested = async () => {
  const { id } = (await create({ events: ['device.registered'] })).json.webhook
  return { id, deliveryId: (await test(id)).json.delivery_id as number }
}

describe('another try', () => {
  itIsForAdminsOnly(
    () => calls.functions,
    async (options) => {
      const { id, deliveryId } = await tested()
      return retry(id, deliveryId, options)
    },
    202,
  )

  it('sends a message again, under the same id', async () => {
    await sweep()
    calls.receiver.received.length = 0
    const { id, deliveryId } = await tested()
    const { json } = await retry(id, deliveryId)
    expect(json).toMatchObject({
      status: 'success',
      message: 'The delivery is due now',
      delivery: { id: deliveryId, status: 'pending', attempt_count: 1, finished_at: null },
    })
    await sweep()
    const ids = calls.receiver.received.map((message) => message.id)
    expect(ids).toEqual([json.delivery.event_id, json.delivery.event_id])
    expect((await deliveries(id)).json.deliveries[0]).toMatchObject({
      status: 'delivered',
      attempt_count: 2,
    })
  })

  it('is refused while an earlier one of the device waits, and while the webhook is disabled', async () => {
    const { id } = (await create({ name: 'two', events: ['command.*', 'device.*'] })).json.webhook
    const { id: device } = await calls.functions.register()
    await calls.functions.call('admin-set-status', 'PUT', `/api/v1/admin/devices/${device}/status`, {
      admin: true,
      body: { status: 'maintenance' },
    })
    const command = { command: 'restart' }
    const path = `/api/v1/admin/devices/${device}/commands`
    const made = await calls.functions.call('commands-create', 'POST', path, { admin: true, body: command })
    await calls.functions.call('commands-cancel', 'DELETE', `${path}/${made.json.command_id}`, {
      admin: true,
    })
    await calls.expand()
    const [later, first] = (await deliveries(id)).json.deliveries
    expect([first.type, later.type]).toEqual(['device.registered', 'command.cancelled'])
    expect([first.next_attempt_at, later.next_attempt_at]).toEqual([expect.any(String), null])
    expect((await retry(id, later.id)).json.error).toMatchObject({
      code: 'CONFLICT',
      message: 'An earlier delivery of the device is sent first.',
    })
    await update(id, { enabled: false })
    const answer = await retry(id, later.id)
    expect([answer.status, answer.json.error.message]).toEqual([
      409,
      'The webhook is disabled: it sends nothing.',
    ])
    expect((await show(id)).json.webhook.pending).toBe(0)
  })

  it('is 404 for a delivery that there is not', async () => {
    const { id, deliveryId } = await tested()
    for (const unknown of unknownIds) {
      expect((await retry(id, unknown)).status, unknown).toBe(404)
      expect((await retry(unknown, deliveryId)).status, unknown).toBe(404)
    }
  })
})
