import { afterAll, beforeAll, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const call = (query: string, options: CallOptions = { admin: true }) =>
  functions.call('admin-mqtt-messages', 'GET', `/api/v1/admin/mqtt/messages${query}`, options)
const send = (topic: string, payload: string | Buffer) =>
  functions.messageTap.record({
    topic,
    payload: Buffer.from(payload).toString('base64'),
    clientId: '7',
    receivedAt: Date.parse('2026-03-01T12:00:00Z'),
  })

itIsForAdminsOnly(
  () => functions,
  (options) => call('', options),
)

it('shows the messages after a number, whose topic fits', async () => {
  const { last } = (await call('')).json
  send('iotflow/devices/7/telemetry', '{"t":1}')
  send('iotflow/devices/8/telemetry', Buffer.from([0xff, 0x00]))
  expect((await call(`?after=${last}&topic=iotflow/devices/7/%23`)).json).toEqual({
    status: 'success',
    messages: [
      {
        number: last + 1,
        topic: 'iotflow/devices/7/telemetry',
        payload: '{"t":1}',
        encoding: 'utf8',
        client_id: '7',
        received_at: '2026-03-01T12:00:00Z',
      },
    ],
    last: last + 2,
    lost: 0,
  })
  expect((await call(`?after=${last + 1}`)).json.messages).toMatchObject([
    { payload: '/wA=', encoding: 'base64' },
  ])
})

it.each(['?topic=a%23', '?after=x'])('refuses %s', async (query) => {
  expect((await call(query)).status).toBe(422)
})
