import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { streamUpdates } from '../../../functions/admin/stream.ts'
import { LiveUpdates } from '../../../lib/dashboard/live-updates.ts'
import * as runtime from '../../../lib/runtime.ts'
import { loadFunctions } from '../../../local/functions.ts'
import { StreamReader } from '../../support/event-stream.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from './refusals.ts'

const path = '/api/v1/admin/stream'
const live = new LiveUpdates(runtime)
let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions({}, undefined, { liveUpdates: live, batchObservers: [live] })
})
afterAll(() => functions.close())

const readers: StreamReader[] = []
const open = async (query = '', headers: Record<string, string> = {}) => {
  const app = await (await (await loadFunctions()).http('admin-stream')).app()
  const authorization = { Authorization: `Bearer ${functions.adminToken}` }
  const answer = await app.request(`${path}${query}`, { headers: { ...authorization, ...headers } })
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
  const reader = new StreamReader(answer.body)
  readers.push(reader)
  return reader
}
afterEach(async () => {
  for (const reader of readers.splice(0)) await reader.cancel()
  expect(live.count).toBe(0)
})

const send = (key: string, body: unknown) =>
  functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key, body })

describe('the stream', () => {
  it('begins with the overview, as the dashboard has it', async () => {
    const reader = await open()
    const { event, data } = (await reader.next()) ?? {}
    expect(event).toBe('overview')
    const { json } = await functions.call('admin-dashboard', 'GET', '/api/v1/admin/dashboard', {
      admin: true,
    })
    expect(Object.keys(data)).toEqual(Object.keys(json))
  })

  it('sends device events as they happen, to every reader', async () => {
    const [one, other] = [await open(), await open()]
    const { id, name } = await functions.register()
    for (const reader of [one, other]) {
      const message = await reader.nextOf('event')
      expect(message.data).toMatchObject({
        device_id: id,
        device_name: name,
        kind: 'registered',
        detail: null,
      })
      expect(message.id).toBe(String(message.data.id))
    }
  })

  it('sends the stored readings of the device that is asked for, and of no other', async () => {
    const [device, other] = [await functions.register(), await functions.register()]
    const [reader, without] = [await open(`?device_id=${device.id}`), await open()]
    await send(other.key, { t: 0 })
    await send(device.key, { temperature: 21.5, ok: true, timestamp: '2026-01-02T03:04:05Z' })
    await send(device.key, { nothing: null })
    await send(device.key, [{ values: { t: 1 } }, { values: { t: 2 } }])
    expect((await reader.nextOf('reading')).data).toEqual({
      device_id: device.id,
      timestamp: expect.stringMatching(/^2026-01-02T03:04:05Z$|^20/),
      data: { temperature: 21.5, ok: true },
    })
    expect((await reader.nextOf('reading')).data.data).toEqual({ t: 1 })
    expect((await reader.nextOf('reading')).data.data).toEqual({ t: 2 })
    const { id } = await functions.register()
    for (;;) {
      const message = await without.next()
      expect(message?.event).not.toBe('reading')
      if (message?.event === 'event' && message.data.device_id === id) break
    }
  })

  it('goes on after the event that the reader has got', async () => {
    const first = await open()
    const [one, two, three] = [
      await functions.register(),
      await functions.register(),
      await functions.register(),
    ]
    // Devices of earlier tests come online meanwhile, some seconds after they have sent.
    const registered = async () => {
      for (;;) {
        const message = await first.nextOf('event')
        if (message.data.kind === 'registered') return message
      }
    }
    const seen = await registered()
    expect(seen.data.device_id).toBe(one.id)
    // The stream looks for events in turns: the next reader gets at once what a turn has found.
    for (const { id } of [two, three]) expect((await registered()).data.device_id).toBe(id)
    const again = await open('', { 'Last-Event-ID': seen.id })
    const missed: unknown[] = []
    for (let message = await again.next(); message?.event === 'event'; message = await again.next())
      if (message.data.kind === 'registered') missed.push(message.data.device_id)
    expect(missed).toEqual([two.id, three.id])
  })

  it('skips to the newest events after a long absence', async () => {
    const registry = await runtime.registry()
    const { id } = await functions.register()
    await registry.db.$client.execute({
      sql: `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
        INSERT INTO events (device_id, kind, at) SELECT ?, 'updated', i FROM n`,
      args: [id],
    })
    const reader = await open('', { 'Last-Event-ID': '1' })
    expect((await reader.next())?.data).toMatchObject({ readings: 0, events: expect.any(Number) })
    const ats = [(await reader.next())?.data.at]
    for (let n = 1; n < 200; n += 1) ats.push((await reader.next())?.data.at)
    expect([ats[0], ats.at(-1)]).toEqual(['1970-01-01T00:00:00.101Z', '1970-01-01T00:00:00.300Z'])
  })

  it('sends everything new for an id that is none or not yet given', async () => {
    for (const id of ['x', '-1', '999999999']) {
      const reader = await open('', { 'Last-Event-ID': id })
      expect((await reader.next())?.event).toBe('overview')
    }
  })

  it('takes no place for HEAD', async () => {
    const { status } = await functions.call('admin-stream', 'HEAD', path, { admin: true })
    expect([status, live.count]).toEqual([200, 0])
  })

  it('refuses more than 20 readers, until one leaves', async () => {
    for (let n = 0; n < 20; n += 1) await open()
    const refused = await functions.call('admin-stream', 'GET', path, { admin: true })
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '10'])
    await readers.shift()?.cancel()
    await open()
  })

  it('refuses what is no id of a device', async () => {
    for (const id of ['x', '0', '-1', '1.5']) {
      const { status } = await functions.call('admin-stream', 'GET', `${path}?device_id=${id}`, {
        admin: true,
      })
      expect(status).toBe(422)
    }
  })

  itIsForAdminsOnly(
    () => functions,
    (options) => functions.call('admin-stream', 'GET', path, options),
  )
})

it('is not there where messages do not all pass this process', async () => {
  const access = await runtime.accessControl()
  const app = streamUpdates({ live: undefined, log: runtime.log(), access })
  const answer = await app.request(path, { headers: { Authorization: `Bearer ${functions.adminToken}` } })
  expect(answer.status).toBe(501)
  expect(await answer.json()).toMatchObject({ error: { code: 'NOT_IMPLEMENTED' } })
})

describe('live updates', () => {
  const overview = { read: async () => ({}) as never, readAfterAlert: async () => undefined }
  const devices = { newestEventId: async () => 0, newestEvents: async () => [], eventsAfter: async () => [] }

  it('read the overview once for all readers, and never while there are none', async () => {
    let reads = 0
    const read = async () => {
      reads += 1
      return { reads } as never
    }
    vi.useFakeTimers()
    const updates = new LiveUpdates({
      overview: async () => ({ ...overview, read }),
      devices: async () => devices,
      log: runtime.log,
    })
    await vi.advanceTimersByTimeAsync(60_000)
    expect(reads).toBe(0)
    const streams = [await updates.open({}), await updates.open({})]
    const before = reads
    await vi.advanceTimersByTimeAsync(20_000)
    expect(reads - before).toBe(10)
    for (const stream of streams) await stream.cancel()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(reads - before).toBe(10)
    vi.useRealTimers()
  })

  it('send an overview as soon as an alert has opened, and otherwise every two seconds', async () => {
    vi.useFakeTimers()
    let hasOpened = false
    const updates = new LiveUpdates({
      overview: async () => ({
        read: async () => ({ n: 0 }) as never,
        readAfterAlert: async () => (hasOpened ? ({ n: 1 } as never) : undefined),
      }),
      devices: async () => devices,
      log: runtime.log,
    })
    const reader = new StreamReader(await updates.open({}))
    const shown = async () => (await reader.nextOf('overview')).data.n
    expect(await shown()).toBe(0)
    await vi.advanceTimersByTimeAsync(2000)
    expect(await shown()).toBe(0)
    hasOpened = true
    await vi.advanceTimersByTimeAsync(1000)
    expect(await shown()).toBe(1)
    vi.useRealTimers()
    await reader.cancel()
  })

  it('end after an hour, and where the server ends', async () => {
    vi.useFakeTimers()
    const updates = new LiveUpdates({
      overview: async () => overview,
      devices: async () => devices,
      log: runtime.log,
    })
    await updates.open({})
    await vi.advanceTimersByTimeAsync(3_600_000)
    expect(updates.count).toBe(0)
    vi.useRealTimers()
    const reader = new StreamReader(await updates.open({}))
    updates.close()
    while ((await reader.next()) !== undefined);
    await expect(updates.open({})).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('skip to the newest where more events come than can be shown', async () => {
    vi.useFakeTimers()
    let newest = 0
    const eventsAfter = async (id: number, limit: number) =>
      Array.from({ length: Math.min(limit, newest - id) }, (_, n) => ({
        id: id + n + 1,
        deviceId: 1,
        deviceName: 'a',
        kind: 'online' as const,
        at: 0,
        detail: null,
        repeated: undefined,
      }))
    const updates = new LiveUpdates({
      overview: async () => overview,
      devices: async () => ({ ...devices, newestEventId: async () => newest, eventsAfter }),
      log: runtime.log,
    })
    const reader = new StreamReader(await updates.open({}))
    for (newest of [1000, 1001]) await vi.advanceTimersByTimeAsync(1000)
    vi.useRealTimers()
    const { data } = await reader.nextOf('skipped')
    expect(data.events).toBe(800)
    expect((await reader.nextOf('event')).id).toBe('1001')
    await reader.cancel()
  })

  it('keep few readings of a device, however large they are', async () => {
    const updates = new LiveUpdates({
      overview: async () => overview,
      devices: async () => devices,
      log: runtime.log,
    })
    const reader = new StreamReader(await updates.open({ deviceId: 1 }))
    const text = 'x'.repeat(4000)
    const fields = Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`f${n}`, text]))
    const delivery = {
      deviceId: 1,
      deviceType: 'a',
      location: null,
      receivedAt: 0,
      readings: Array.from({ length: 500 }, (_, n) => ({ time: BigInt(n), fields, metadata: undefined })),
      rejected: 0,
    }
    const outcome = { stored: 500, queued: 0, duplicates: 0 }
    updates.batchEnded([{ delivery, door: 'http', since: 0 }], [outcome])
    const { data } = await reader.nextOf('skipped')
    expect(data.readings).toBeGreaterThanOrEqual(497)
    await reader.cancel()
  })
})
