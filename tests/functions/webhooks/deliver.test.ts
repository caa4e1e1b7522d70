import { expect, it } from 'vitest'
import { deliverWebhooks } from '../../../functions/webhooks/deliver.ts'
import { createLog } from '../../../lib/log.ts'
import { withWebhooks } from '../admin/webhook-calls.ts'

const calls = withWebhooks()
const event = { Records: [] }

it('sends what is due, and nothing twice when its message comes twice', async () => {
  await calls.create({ events: ['device.*'] })
  await calls.functions.register()
  await Promise.all([1, 2].map(() => calls.functions.invoke('webhooks-deliver', event)))
  expect(calls.receiver.received.map(({ body }) => body.type)).toEqual(['device.registered'])
})

it('asks to be called again when something is due soon', async () => {
  const asked: number[] = []
  const deliverOf = (dueMs: number | undefined) =>
    deliverWebhooks({
      log: createLog('silent'),
      dispatcher: { run: async () => dueMs },
      waker: { wake: async () => {}, wakeIn: async (ms) => void asked.push(ms) },
    })(event)
  for (const dueMs of [undefined, 3_600_000, 30_000, 0]) await deliverOf(dueMs)
  expect(asked).toEqual([30_000, 0])
})

it('does nothing where there is no key to sign with', async () => {
  const asked: string[] = []
  const waker = { wake: async () => {}, wakeIn: async () => void asked.push('again') }
  await deliverWebhooks({ log: createLog('silent'), dispatcher: undefined, waker })(event)
  expect(asked).toEqual([])
})
