import { chmod, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { createClient } from '@libsql/client'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createLog } from '../../../lib/log.ts'
import { openEmbeddedStore } from '../../../lib/telemetry/embedded.ts'
import type { FieldValue } from '../../../lib/telemetry/reading.ts'
import type { TelemetryStore } from '../../../lib/telemetry/store.ts'
import { telemetryStoreContract } from '../../support/telemetry-store-contract.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const log = createLog('silent')

telemetryStoreContract('embedded', async () => {
  const folder = await temporaryFolder()
  const store = await openEmbeddedStore({
    at: { file: join(folder.path, 'telemetry.db') },
    log,
    retentionMs: 0,
  })
  return {
    store,
    end: async () => {
      await store.close()
      await folder.remove()
    },
  }
})

describe('embedded store', () => {
  const endings: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of endings.splice(0).reverse()) await end()
  })

  const open = async (options: Partial<Parameters<typeof openEmbeddedStore>[0]> = {}) => {
    const folder = await temporaryFolder()
    const file = join(folder.path, 'telemetry.db')
    const store = await openEmbeddedStore({ at: { file }, log, retentionMs: 0, ...options })
    endings.push(() => folder.remove())
    endings.push(() => store.close())
    return { store, file, folder: folder.path }
  }
  const write = (store: TelemetryStore, time: bigint, fields: Record<string, number>, deviceId = 1) =>
    store.write({
      deviceId,
      deviceType: 'sensor',
      location: null,
      receivedAt: Date.now(),
      readings: [{ time, fields, metadata: undefined }],
    })
  const everything = {
    from: 0n,
    to: 9_000_000_000_000_000_000n,
    fields: undefined,
    limit: 10_000,
    order: 'asc',
  } as const

  it('keeps readings when it is opened again, with the tags they were accepted with', async () => {
    const { store, file } = await open()
    await store.write({
      deviceId: 7,
      deviceType: 'pump',
      location: 'Hall 1',
      receivedAt: 1_700_000_000_123,
      readings: [{ time: 1_700_000_000_000_000_001n, fields: { a: 1 }, metadata: { b: 'c' } }],
    })
    await store.close()
    const client = createClient({ url: `file:${file}`, intMode: 'bigint' })
    const { rows } = await client.execute('SELECT * FROM readings')
    client.close()
    expect(rows[0]).toMatchObject({
      device_id: 7n,
      ts: 1_700_000_000_000_000_001n,
      device_type: 'pump',
      location: 'Hall 1',
      received_at: 1_700_000_000_123n,
    })
    const again = await openEmbeddedStore({ at: { file }, log, retentionMs: 0 })
    expect(await again.count(7)).toBe(1)
    await again.close()
  })

  it('reads a file that another store is writing, and leaves it as it is', async () => {
    const { store, file } = await open()
    await write(store, 1n, { a: 1 })
    const beside = await openEmbeddedStore({ at: { file }, log, retentionMs: 1, readOnly: true })
    await write(store, 2n, { a: 2 })
    expect(await beside.count(1)).toBe(2)
    expect(await beside.devices()).toEqual([1])
    await expect(write(beside, 3n, { a: 3 })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await expect(beside.remove(1, { from: 0n, to: 9n })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await write(store, 4n, { a: 4 })
    expect((await beside.history({ deviceId: 1, ...everything })).map(({ time }) => time)).toEqual([
      1n,
      2n,
      4n,
    ])
    await beside.close()
  })

  it('knows the newest value of every field, whatever comes in whichever order, and whoever writes it', async () => {
    const { store, file } = await open()
    const beside = await openEmbeddedStore({ at: { file }, log, retentionMs: 0 })
    endings.push(() => beside.close())
    const names = ['a', 'b', 'c', '1', 'a b']
    const fieldsOf = fc
      .subarray(names, { minLength: 1 })
      .chain((some) => fc.shuffledSubarray(some, { minLength: some.length, maxLength: some.length }))
    const message = fc.record({
      device: fc.integer({ min: 1, max: 3 }),
      readings: fc.array(fc.record({ at: fc.integer({ min: 0, max: 12 }), names: fieldsOf }), {
        minLength: 1,
        maxLength: 3,
      }),
      key: fc.option(fc.constantFrom('k', 'l', 'm'), { nil: undefined, freq: 4 }),
    })
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ other: fc.boolean(), group: fc.array(message, { maxLength: 6 }) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          device: fc.integer({ min: 1, max: 3 }),
          from: fc.integer({ min: 0, max: 12 }),
          to: fc.integer({ min: 0, max: 13 }),
        }),
      },
    )
    let base = 0
    let value = 0
    const nextValue = () => {
      value += 1
      return value
    }
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        base += 10
        const kept = new Map<number, Map<number, Record<string, FieldValue>>>()
        const keys = new Set<string>()
        for (const one of steps) {
          if ('group' in one) {
            // What is handed over in one turn is one group, and of it what has keys is written last.
            const plainFirst = [...one.group].sort(
              (a, b) => Number(a.key !== undefined) - Number(b.key !== undefined),
            )
            await Promise.all(
              plainFirst.map(async ({ device, readings, key }) => {
                const again = key !== undefined && keys.has(`${device} ${key}`)
                if (key !== undefined) keys.add(`${device} ${key}`)
                // A key stands for one reading.
                const taken = key === undefined ? readings : readings.slice(0, 1)
                const given = taken.map((reading) => ({
                  time: BigInt(reading.at),
                  fields: Object.fromEntries(reading.names.map((name) => [name, nextValue()])),
                  metadata: undefined,
                }))
                const times = kept.get(device) ?? new Map<number, Record<string, FieldValue>>()
                kept.set(device, times)
                if (!again)
                  for (const { time, fields } of given)
                    times.set(Number(time), { ...times.get(Number(time)), ...fields })
                await (one.other ? beside : store).deliver(
                  {
                    deviceId: base + device,
                    deviceType: 'sensor',
                    location: null,
                    receivedAt: 1_700_000_000_000,
                    readings: given,
                    keys: key === undefined ? undefined : [key],
                    rejected: 0,
                  },
                  'readings',
                )
              }),
            )
          } else {
            await store.remove(base + one.device, { from: BigInt(one.from), to: BigInt(one.to) })
            for (const time of kept.get(one.device)?.keys() ?? [])
              if (time >= one.from && time < one.to) kept.get(one.device)?.delete(time)
          }
        }
        for (const [device, times] of kept) {
          const inOrder = [...times].sort(([one], [other]) => one - other)
          const fields = Object.assign({}, ...inOrder.map(([, each]) => each)) as Record<string, FieldValue>
          const newest = inOrder.at(-1)
          expect(await store.latest(base + device)).toEqual(
            newest === undefined ? undefined : { time: BigInt(newest[0]), fields },
          )
        }
      }),
      { numRuns: 300 },
    )
  })

  it('keeps the newest value of a field that only another process has written', async () => {
    const { store, file } = await open()
    const beside = await openEmbeddedStore({ at: { file }, log, retentionMs: 0 })
    endings.push(() => beside.close())
    for (const time of [1n, 2n, 3n]) await write(store, time, { a: 1 })
    await write(beside, 4n, { b: 2 })
    await write(store, 5n, { a: 3 })
    expect(await store.latest(1)).toEqual({ time: 5n, fields: { a: 3, b: 2 } })
  })

  it('gives text as the latest that has a NUL in it', async () => {
    const { store } = await open()
    const text = 'before \u0000 after'
    await store.write({
      deviceId: 1,
      deviceType: 'sensor',
      location: null,
      receivedAt: Date.now(),
      readings: [{ time: 1n, fields: { text, other: text }, metadata: undefined }],
    })
    await write(store, 2n, { other: 1 })
    expect(await store.latest(1)).toEqual({ time: 2n, fields: { text, other: 1 } })
    await store.remove(1, { from: 2n, to: 3n })
    expect(await store.latest(1)).toEqual({ time: 1n, fields: { text, other: text } })
  })

  it('refuses what it cannot hold, and takes it again later', async () => {
    const { store } = await open({ maxWaiting: 3 })
    const first = [1n, 2n, 3n].map((time) => write(store, time, { a: 1 }))
    await expect(write(store, 4n, { a: 1 })).rejects.toMatchObject({ code: 'UNAVAILABLE', retryAfterS: 2 })
    await Promise.all(first)
    await write(store, 4n, { a: 1 })
    expect(await store.count(1)).toBe(4)
  })

  it('bounds what waits by bytes too', async () => {
    const { store } = await open({ maxWaitingBytes: 200 })
    const first = write(store, 1n, { a: 1 })
    await expect(write(store, 2n, { ['a'.repeat(128)]: 1, ['b'.repeat(128)]: 2 })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    })
    await first
  })

  it('writes what waits before it ends, and takes nothing after', async () => {
    const { store, file } = await open()
    const writes = Array.from({ length: 500 }, (_, n) => write(store, BigInt(n + 1), { n }))
    await store.close()
    await Promise.all(writes)
    await expect(write(store, 1000n, { n: 1 })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    const again = await openEmbeddedStore({ at: { file }, log, retentionMs: 0 })
    expect(await again.count(1)).toBe(500)
    await again.close()
  })

  it('answers others, and ends, while it aggregates a lot, slice by slice', async () => {
    const { store } = await open()
    const names = Array.from({ length: 20 }, (_, at) => `field${at}`)
    const readings = Array.from({ length: 20_000 }, (_, n) => ({
      time: BigInt(n + 1) * 60_000_000_000n,
      fields: Object.fromEntries(names.map((name) => [name, n])),
      metadata: undefined,
    }))
    for (let from = 0; from < readings.length; from += 1000)
      await store.write({
        deviceId: 1,
        deviceType: 'sensor',
        location: null,
        receivedAt: 1,
        readings: readings.slice(from, from + 1000),
      })
    await write(store, 5n, { n: 1 }, 2)
    const window = 3_600_000_000_000n
    const range = { deviceId: 1, window, from: 60_000_000_000n, to: 20_001n * 60_000_000_000n }
    const done: string[] = []
    const ask = async () => {
      const windows = await store.aggregate({ ...range, field: undefined, aggregation: 'count' })
      done.push('aggregate')
      return windows
    }
    const asked = [ask(), ask(), ask()]
    expect((await store.latest(2))?.fields).toEqual({ n: 1 })
    expect(done).toEqual([])
    const [windows = []] = await Promise.all(asked)
    expect(windows).toHaveLength(334)
    expect(windows.map(({ time }) => time)).toEqual(
      Array.from({ length: 334 }, (_, at) => BigInt(333 - at) * window),
    )
    expect(windows.reduce((sum, { values }) => sum + (values.field7 ?? 0), 0)).toBe(20_000)
    expect([windows.at(-1)?.values.field0, windows[5]?.values.field0, windows[0]?.values.field0]).toEqual([
      59, 60, 21,
    ])

    const left = Array.from({ length: 6 }, () => ask().catch((error: unknown) => error))
    await store.close()
    expect(await Promise.all(left)).toEqual(
      expect.arrayContaining([expect.objectContaining({ code: 'UNAVAILABLE' })]),
    )
    expect(done.length).toBeLessThan(9)
  })

  it('slices by where the readings lie, every window once', async () => {
    const { store } = await open()
    const first = everything.to - 15_000n
    for (let from = 0n; from < 15_000n; from += 1000n)
      await store.write({
        deviceId: 1,
        deviceType: 'sensor',
        location: null,
        receivedAt: 1,
        readings: Array.from({ length: 1000 }, (_, n) => ({
          time: first + from + BigInt(n),
          fields: { n },
          metadata: undefined,
        })),
      })
    await write(store, 5n, { n: 1 })
    const { from, to } = everything
    const posted = vi.spyOn(Worker.prototype, 'postMessage')
    endings.push(async () => posted.mockRestore())
    const windows = await store.aggregate({
      deviceId: 1,
      field: 'n',
      aggregation: 'count',
      window: 1000n,
      from,
      to,
    })
    expect(windows.map(({ time }) => time)).toEqual([
      ...Array.from({ length: 15 }, (_, n) => to - BigInt(n + 1) * 1000n),
      0n,
    ])
    expect(windows.every(({ values }) => values.n === 1000 || values.n === 1)).toBe(true)
    const asked = posted.mock.calls.map(([message]) => message as { op: string; from: bigint })
    const begins = asked.filter(({ op }) => op === 'aggregate').map((ask) => ask.from)
    expect(begins).toEqual([to - 5000n, to - 10_000n, 1000n, from])
  })

  it('ends after the query that runs, and refuses those that wait', async () => {
    const { store } = await open()
    await write(store, 1n, { a: 1 })
    expect(await store.count(1)).toBe(1)
    const asked = Array.from({ length: 6 }, () => store.history({ deviceId: 1, ...everything }))
    const settled = Promise.allSettled(asked)
    await store.close()
    expect((await settled).map((result) => (result.status === 'rejected' ? result.reason.code : ''))).toEqual(
      ['', ...Array.from({ length: 5 }, () => 'UNAVAILABLE')],
    )
  })

  it('writes again right after a write was answered', async () => {
    const { store } = await open()
    for (let n = 1n; n <= 50n; n++) await write(store, n, { n: Number(n) })
    expect(await store.count(1)).toBe(50)
  })

  it('fails a bad member of a group alone', async () => {
    const { store } = await open()
    // No parser of ours lets such a time pass: it stands for whatever the database refuses.
    const tooLarge = 2n ** 80n
    const results = await Promise.allSettled([
      write(store, 1n, { a: 1 }),
      store.write({
        deviceId: 1,
        deviceType: null as unknown as string,
        location: null,
        receivedAt: 0,
        readings: [{ time: tooLarge, fields: { a: 1 }, metadata: undefined }],
      }),
      write(store, 3n, { a: 3 }),
    ])
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect((await store.history({ deviceId: 1, ...everything })).map((reading) => reading.time)).toEqual([
      1n,
      3n,
    ])
  })

  it('deletes what is older than the retention, slice by slice', async () => {
    const hourMs = 3_600_000
    const now = Date.now()
    const { store } = await open({ retentionMs: hourMs, pruneEveryMs: 50, now: () => now })
    const old = BigInt(now - 2 * hourMs) * 1_000_000n
    await store.write({
      deviceId: 1,
      deviceType: 'sensor',
      location: null,
      receivedAt: now,
      readings: Array.from({ length: 7000 }, (_, n) => ({
        time: old + BigInt(n),
        fields: { a: n },
        metadata: undefined,
      })),
    })
    const kept = BigInt(now) * 1_000_000n
    await write(store, kept, { b: 1 })
    await expect.poll(() => store.count(1), { timeout: 10_000 }).toBe(1)
    await expect.poll(() => store.latest(1)).toEqual({ time: kept, fields: { b: 1 } })
  })

  it('hands on what an earlier form of the spool holds', async () => {
    const folder = await temporaryFolder()
    const file = join(folder.path, 'telemetry.db')
    const client = createClient({ url: `file:${file}` })
    await client.execute(
      `CREATE TABLE spool (id INTEGER PRIMARY KEY AUTOINCREMENT, device_id INTEGER NOT NULL, count INTEGER NOT NULL,
        bytes INTEGER NOT NULL, at INTEGER NOT NULL, rows TEXT NOT NULL)`,
    )
    await client.execute(
      `INSERT INTO spool (device_id, count, bytes, at, rows)
        VALUES (7, 1, 40, 1760000000000, '[7,1760000000000000000,{"a":1},null,1760000000000,"sensor",null]')`,
    )
    client.close()
    const store = await openEmbeddedStore({ at: { file }, log: createLog('silent'), retentionMs: 0 })
    const [first] = await store.spooled({ maxMessages: 10, maxBytes: 1000 })
    expect(first?.entry).toMatchObject({ deviceId: 7, readings: [{ fields: { a: 1 } }] })
    expect((await store.spoolState()).oldestAt).toBe(1_760_000_000_000)
    await store.close()
    await folder.remove()
  })

  it('says so when the file cannot be opened', async () => {
    const folder = await temporaryFolder()
    endings.push(() => folder.remove())
    // A folder stands where the file should be.
    await expect(openEmbeddedStore({ at: { file: folder.path }, log, retentionMs: 0 })).rejects.toThrow()
  })

  it('keeps its files to their owner', async () => {
    const { store, folder } = await open()
    await write(store, 1n, { a: 1 })
    expect((await stat(folder)).mode & 0o077).toBe(0)
    expect(await readdir(folder)).toContain('telemetry.db')
    await chmod(folder, 0o700)
  })
})
