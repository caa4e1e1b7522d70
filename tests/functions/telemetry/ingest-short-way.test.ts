import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { takeTelemetry } from '../../../functions/telemetry/ingest.ts'
import type { Device } from '../../../lib/devices/device.ts'
import { createLog } from '../../../lib/log.ts'
import * as runtime from '../../../lib/runtime.ts'
import { FieldCatalogue } from '../../../lib/telemetry/field-catalogue.ts'
import { Intake } from '../../../lib/telemetry/intake/intake.ts'
import { MessageRate } from '../../../lib/telemetry/message-rate.ts'
import { DirectTelemetry } from '../../../local/mqtt/direct-telemetry.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { ruleEvent } from '../../support/rule-events.ts'
import { eventually } from '../../support/waiting.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  // As in one process: it knows its devices and its alert rules.
  functions = await openFunctions({}, undefined, { longRunning: true, cacheMs: 60_000 })
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const ingest = (event: unknown) => functions.invoke('telemetry-ingest', event)

describe('the short way of a broker of this process', () => {
  const openTake = async (limit = 0) => {
    const [devices, intake] = [await runtime.devices(), await runtime.intake()]
    return takeTelemetry({ devices, intake, door: 'bridge', rate: new MessageRate(limit) })
  }
  const open = async (limit?: number) => {
    const take = await openTake(limit)
    return (deviceId: number, payload: string | Uint8Array, subtopic?: string) =>
      new Promise<unknown>((resolve) => {
        const message = {
          ...{ deviceId, subtopic, payload: Buffer.from(payload), receivedAt: noon - 5000 },
          messageId: crypto.randomUUID(),
        }
        const taken = take(message, (failure) => resolve(failure ?? 'stored'))
        if (taken === false) resolve('left')
        else if (taken !== true) resolve(taken.then(() => 'read'))
      })
  }
  /** A device that is in memory with the names of its fields. */
  const known = async () => {
    const { id } = await functions.register()
    await ingest(ruleEvent(id, 'telemetry', { t: 1 }))
    return id
  }

  it('stores a plain message as the function does', async () => {
    const id = await known()
    const take = await open()
    expect(await take(id, '{"t":2}', 'lab')).toBe('stored')
    const [first] = await functions.historyOf(id)
    expect(first).toMatchObject({ t: 2, metadata: { subtopic: 'lab' } })
    expect(first.timestamp).toMatch(/^2026-03-01T11:59:55/)
    expect(await functions.accountOf(id)).toMatchObject({ received: 2, stored: 2, rejected: 0 })
  })

  it('leaves every other message to the function, and counts nothing of it', async () => {
    const id = await known()
    const inactive = await known()
    await functions.setStatus(inactive, 'inactive')
    const take = await open()
    expect(await take(id, '{"t":')).toBe('left')
    expect(await take(id, Buffer.from([0x22, 0xff, 0x22]))).toBe('left')
    expect(await take(id, '{"t":1,"":2}')).toBe('left')
    expect(await take(id, '[{"t":1},{}]')).toBe('left')
    expect(await take(id, '{"t":1,"message_id":"a"}')).toBe('left')
    expect(await take(id, '{"fresh":1}')).toBe('left')
    expect(await take(inactive, '{"t":1}')).toBe('left')
    expect(await take(999_999_999, '{"t":1}')).toBe('read')
    expect(await take(999_999_999, '{"t":1}')).toBe('read')
    expect(await functions.accountOf(id)).toMatchObject({ received: 1, stored: 1, rejected: 0 })
  })

  it('reads a device that is no longer in memory, and stores its messages in their order', async () => {
    const id = await known()
    vi.setSystemTime(noon + 61_000)
    expect((await runtime.devices()).cached(id)).toBeUndefined()
    const direct = new DirectTelemetry(await openTake())
    const ended = [2, 3].map(
      (t) =>
        new Promise<unknown>((resolve) => {
          const [topic, payload] = [`iotflow/devices/${id}/telemetry`, Buffer.from(JSON.stringify({ t }))]
          const message = {
            topic,
            payload,
            clientId: String(id),
            receivedAt: noon + 1000 * t,
            messageId: `m-${t}`,
          }
          direct.handOver(
            { deviceId: id, subtopic: undefined },
            message,
            (failure) => resolve(failure ?? 'stored'),
            () => resolve('called'),
          )
        }),
    )
    expect(await Promise.all(ended)).toEqual(['stored', 'stored'])
    expect((await functions.historyOf(id)).map(({ t }: { t: number }) => t)).toEqual([1, 2, 3])
    expect(await functions.accountOf(id)).toMatchObject({ received: 3, stored: 3, rejected: 0 })
    vi.setSystemTime(noon)
  })

  it('takes messages of a device of which nothing is in memory, as after a start', async () => {
    const id = await known()
    const devices = await runtime.devices()
    const inMemory = new Map<number, Device>()
    const reads: string[] = []
    const fields = new FieldCatalogue({
      db: (await runtime.registry()).db,
      log: createLog('silent'),
      background: false,
    })
    const intake = new Intake({
      writer: {
        ...{ batchesAhead: 1, inAnyOrder: false },
        deliver: async (batch) =>
          batch.map(({ readings }) => ({ stored: readings.length, queued: 0, duplicates: 0 })),
      },
      ledger: { count: async () => undefined, removedSince: async () => [] },
      log: createLog('silent'),
      retentionMs: 0,
      fields,
    })
    const direct = new DirectTelemetry(
      takeTelemetry({
        devices: {
          ...devices,
          cached: (deviceId) => inMemory.get(deviceId),
          async find(deviceId) {
            reads.push('device')
            const device = await devices.find(deviceId)
            if (device !== undefined) inMemory.set(deviceId, device)
            return device
          },
        },
        intake,
        door: 'bridge',
      }),
    )
    const ended: string[] = []
    for (const t of [2, 3, 4]) {
      const [topic, payload] = [`iotflow/devices/${id}/telemetry`, Buffer.from(JSON.stringify({ t }))]
      direct.handOver(
        { deviceId: id, subtopic: undefined },
        { topic, payload, clientId: String(id), receivedAt: noon, messageId: `m-${t}` },
        (failure) => ended.push(failure?.code ?? `stored ${t}`),
        () => ended.push(`called ${t}`),
      )
      await new Promise((resolve) => setImmediate(resolve))
    }
    await eventually(() => expect(ended).toEqual(['stored 2', 'stored 3', 'stored 4']))
    expect(reads).toEqual(['device'])
    await intake.close()
    await fields.close()
  })

  it('counts messages above the limit of a device', async () => {
    const id = await known()
    const take = await open(2)
    for (const t of [1, 2, 3]) expect(await take(id, JSON.stringify({ t }))).toBe('stored')
    await (await runtime.devices()).flush()
    const { json } = await functions.call('admin-events', 'GET', `/api/v1/admin/devices/${id}/events`, {
      admin: true,
    })
    expect(json.events).toContainEqual(
      expect.objectContaining({ event: 'warning', count: 1, detail: { code: 'RATE_LIMIT_EXCEEDED' } }),
    )
  })
})
