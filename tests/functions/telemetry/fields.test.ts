import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import * as runtime from '../../../lib/runtime.ts'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForReaders } from './readers.ts'

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'))
  functions = await openFunctions({ PUBLIC_TELEMETRY_READS: 'false' })
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const fieldsOf = (id: number | string, options: CallOptions = { admin: true }) =>
  functions.call('telemetry-fields', 'GET', `/api/v1/telemetry/${id}/fields`, options)

const send = (key: string, body: unknown) =>
  functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key, body })

describe('the fields of a device', () => {
  itIsForReaders(
    () => functions,
    (id, options) => fieldsOf(id, options),
  )

  it('are every name with each of its types', async () => {
    const { id, key } = await functions.register()
    await send(key, { temperature: 21.5, door: { open: true } })
    await send(key, { temperature: 'n/a' })
    const times = { first_seen: '2026-03-01T12:00:00Z', last_seen: '2026-03-01T12:00:00Z' }
    const answer = await fieldsOf(id)
    expect(answer.status).toBe(200)
    expect(answer.json).toMatchObject({
      device_id: id,
      fields: [
        { name: 'door.open', type: 'boolean' },
        { name: 'temperature', type: 'number' },
        { name: 'temperature', type: 'text' },
      ],
    })
    for (const { first_seen, last_seen } of answer.json.fields)
      for (const time of [first_seen, last_seen])
        expect(time.slice(0, 19)).toBe(times.first_seen.slice(0, 19))
  })

  it('are none before the first reading', async () => {
    const { id } = await functions.register()
    expect((await fieldsOf(id)).json).toEqual({ device_id: id, fields: [] })
  })

  it('go with the telemetry of a deleted device', async () => {
    const { id, key } = await functions.register()
    await send(key, { t: 1 })
    await functions.call('admin-delete', 'DELETE', `/api/v1/admin/devices/${id}?telemetry=true`, {
      admin: true,
    })
    expect(await (await runtime.telemetry()).fields(id)).toEqual([])
  })
})
