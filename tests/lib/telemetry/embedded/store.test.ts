import { chmod, mkdir, readdir, rename, rmdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { createClient } from '@libsql/client'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createLog } from '../../../../lib/log.ts'
import { openEmbedded } from '../../../../lib/telemetry/embedded/open.ts'
import { Intake, type IntakeOptions } from '../../../../lib/telemetry/intake/intake.ts'
import type { FieldValue } from '../../../../lib/telemetry/reading.ts'
import { type Aggregation, aggregations, type TelemetryStore } from '../../../../lib/telemetry/store.ts'
import { deletionsContract } from '../../../support/deletions-contract.ts'
import { ledgerContract } from '../../../support/ledger-contract.ts'
import { pruningContract } from '../../../support/pruning-contract.ts'
import { spoolContract } from '../../../support/spool-contract.ts'
import { telemetryStoreContract } from '../../../support/telemetry-store-contract.ts'
import { temporaryFolder } from '../../../support/temporary.ts'
import { writeEntry } from '../../../support/write-entry.ts'

const log = createLog('silent')

const openInFolder = async (
  options: { retentionMs?: number; removalSlice?: number; now?: () => number } = {},
) => {
  const folder = await temporaryFolder()
  const embedded = await openEmbedded({
    at: { file: join(folder.path, 'telemetry.db') },
    log,
    retentionMs: 0,
    ...options,
  })
  const end = async () => {
    await embedded.close()
    await folder.remove()
  }
  return { ...embedded, end }
}

telemetryStoreContract('embedded', () => openInFolder())
ledgerContract('embedded', () => openInFolder())
pruningContract('embedded', openInFolder)
deletionsContract('embedded', openInFolder)
spoolContract('embedded', async () => {
  const { spool: openSpool, end } = await openInFolder()
  const spool = openSpool({ maxBytes: 1e9, maxAgeMs: 1e9 })
  const take = async () => {
    const waiting = await spool.oldest({ maxMessages: 1000, maxBytes: 1e9 })
    await spool.settle(waiting.map(({ id }) => id))
    return waiting.map(({ entry }) => entry)
  }
  return { spool, take, end }
})

describe('embedded store', () => {
  const endings: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of endings.splice(0).reverse()) await end()
  })

  const open = async (options: Partial<Parameters<typeof openEmbedded>[0]> = {}) => {
    const folder = await temporaryFolder()
    const file = join(folder.path, 'telemetry.db')
    const { close, ...embedded } = await openEmbedded({ at: { file }, log, retentionMs: 0, ...options })
    endings.push(() => folder.remove())
    endings.push(close)
    return { ...embedded, close, file, folder: folder.path }
  }
  /** The way in, which bounds what waits. */
  const openIntake = async (options: Partial<IntakeOptions> = {}) => {
    const embedded = await open()
    const intake = new Intake({
      writer: embedded.writer,
      ledger: embedded.ledger,
      retentionMs: 0,
      log,
      ...options,
    })
    const deliver = (time: bigint, fields: Record<string, number>, deviceId = 1) =>
      intake.deliver({
        deviceId,
        deviceType: 'sensor',
        location: null,
        receivedAt: Date.now(),
        readings: [{ time, fields, metadata: undefined }],
        rejected: 0,
      })
    return { ...embedded, intake, deliver }
  }
  const write = (store: TelemetryStore, time: bigint, fields: Record<string, number>, deviceId = 1) =>
    writeEntry(store, {
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
    await writeEntry(store, {
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
    const again = await openEmbedded({ at: { file }, log, retentionMs: 0 })
    expect(await again.store.count(7)).toBe(1)
    await again.close()
  })

  it('aggregates readings whose text another program wrote, with blanks', async () => {
    const { store, file } = await open()
    await write(store, 1n, { a: 1, b: 2 })
    await write(store, 2n, { a: 3, b: 4 })
    await store.close()
    const client = createClient({ url: `file:${file}` })
    await client.execute(`UPDATE readings SET fields = '{"a": 5, "b": 6}' WHERE ts = 2`)
    client.close()
    const again = await openEmbedded({ at: { file }, log, retentionMs: 0 })
    endings.push(() => again.close())
    const query = { deviceId: 1, from: 0n, to: 10n, aggregation: 'sum', bounds: { every: 60 } } as const
    const sums = async (field?: string) => (await again.store.aggregate({ ...query, field }))[0]?.values
    expect(await sums()).toEqual({ a: 6, b: 8 })
    expect(await sums('b')).toEqual({ b: 8 })
  })

  it('reads a file that another store is writing, and leaves it as it is', async () => {
    const { store, file } = await open()
    await write(store, 1n, { a: 1 })
    const beside = await openEmbedded({ at: { file }, log, retentionMs: 1, readOnly: true })
    await write(store, 2n, { a: 2 })
    expect(await beside.store.count(1)).toBe(2)
    expect(await beside.store.devices()).toEqual([1])
    await expect(write(beside.store, 3n, { a: 3 })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await expect(beside.store.remove(1, { from: 0n, to: 9n })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await write(store, 4n, { a: 4 })
    expect((await beside.store.history({ deviceId: 1, ...everything })).map(({ time }) => time)).toEqual([
      1n,
      2n,
      4n,
    ])
    await beside.close()
  })

  it('knows the newest value of every field, whatever comes in whichever order, and whoever writes it', async () => {
    const { store, intake, file } = await openIntake()
    const other = await openEmbedded({ at: { file }, log, retentionMs: 0 })
    endings.push(() => other.close())
    const beside = new Intake({ writer: other.writer, ledger: other.ledger, retentionMs: 0, log })
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
                await (one.other ? beside : intake).deliver({
                  deviceId: base + device,
                  deviceType: 'sensor',
                  location: null,
                  receivedAt: 1_700_000_000_000,
                  readings: given,
                  keys: key === undefined ? undefined : [key],
                  rejected: 0,
                })
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
          expect(await store.latest(base + device, everything.to)).toEqual(
            newest === undefined ? undefined : { time: BigInt(newest[0]), fields },
          )
        }
      }),
      { numRuns: 300 },
    )
  })

  it('keeps the newest value of a field that only another process has written', async () => {
    const { store, file } = await open()
    const beside = await openEmbedded({ at: { file }, log, retentionMs: 0 })
    endings.push(() => beside.close())
    for (const time of [1n, 2n, 3n]) await write(store, time, { a: 1 })
    await write(beside.store, 4n, { b: 2 })
    await write(store, 5n, { a: 3 })
    expect(await store.latest(1, everything.to)).toEqual({ time: 5n, fields: { a: 3, b: 2 } })
  })

  it('gives text as the latest that has a NUL in it', async () => {
    const { store } = await open()
    const text = 'before \u0000 after'
    await writeEntry(store, {
      deviceId: 1,
      deviceType: 'sensor',
      location: null,
      receivedAt: Date.now(),
      readings: [{ time: 1n, fields: { text, other: text }, metadata: undefined }],
    })
    await write(store, 2n, { other: 1 })
    expect(await store.latest(1, everything.to)).toEqual({ time: 2n, fields: { text, other: 1 } })
    await store.remove(1, { from: 2n, to: 3n })
    expect(await store.latest(1, everything.to)).toEqual({ time: 1n, fields: { text, other: text } })
  })

  it('refuses what it cannot hold, and takes it again later', async () => {
    const { store, deliver } = await openIntake({ maxWaiting: 3 })
    const first = [1n, 2n, 3n].map((time) => deliver(time, { a: 1 }))
    await expect(deliver(4n, { a: 1 })).rejects.toMatchObject({ code: 'UNAVAILABLE', retryAfterS: 2 })
    await Promise.all(first)
    await deliver(4n, { a: 1 })
    expect(await store.count(1)).toBe(4)
  })

  it('bounds what waits by characters too', async () => {
    const { deliver } = await openIntake({ maxWaitingCharacters: 300 })
    const first = deliver(1n, { a: 1 })
    await expect(deliver(2n, { ['a'.repeat(128)]: 1, ['b'.repeat(128)]: 2 })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    })
    await first
  })

  it('writes what waits before it ends, and takes nothing after', async () => {
    const { intake, deliver, close, file } = await openIntake()
    const writes = Array.from({ length: 500 }, (_, n) => deliver(BigInt(n + 1), { n }))
    await intake.close()
    await close()
    await Promise.all(writes)
    await expect(deliver(1000n, { n: 1 })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    const again = await openEmbedded({ at: { file }, log, retentionMs: 0 })
    expect(await again.store.count(1)).toBe(500)
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
      await writeEntry(store, {
        deviceId: 1,
        deviceType: 'sensor',
        location: null,
        receivedAt: 1,
        readings: readings.slice(from, from + 1000),
      })
    await write(store, 5n, { n: 1 }, 2)
    const window = 3_600_000_000_000n
    const range = {
      deviceId: 1,
      bounds: { every: 3600 },
      from: 60_000_000_000n,
      to: 20_001n * 60_000_000_000n,
    }
    const done: string[] = []
    const ask = async () => {
      const windows = await store.aggregate({ ...range, field: undefined, aggregation: 'count' })
      done.push('aggregate')
      return windows
    }
    const asked = [ask(), ask(), ask()]
    expect((await store.latest(2, everything.to))?.fields).toEqual({ n: 1 })
    expect(done).toEqual([])
    const [windows = []] = await Promise.all(asked)
    expect(windows).toHaveLength(334)
    expect(windows.map(({ time }) => time)).toEqual(
      Array.from({ length: 334 }, (_, at) => BigInt(333 - at) * window),
    )
    expect(windows.reduce((sum, { values }) => sum + Number(values.field7 ?? 0), 0)).toBe(20_000)
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

  it('reads slices of so many readings and bytes, and every reading once', async () => {
    const { store } = await open()
    const long = 'x'.repeat(4000)
    const readings = Array.from({ length: 7000 }, (_, n) => ({
      time: BigInt(n) * 1_000_000_000n,
      fields: { n, ...(n < 2000 ? { long } : {}) },
      metadata: undefined,
    }))
    for (let from = 0; from < readings.length; from += 1000)
      await writeEntry(store, {
        deviceId: 1,
        deviceType: 'sensor',
        location: null,
        receivedAt: 1,
        readings: readings.slice(from, from + 1000),
      })
    const posted = vi.spyOn(Worker.prototype, 'postMessage')
    endings.push(async () => posted.mockRestore())
    const ask = { deviceId: 1, field: 'n', ...everything, bounds: { every: 3600 } } as const
    expect(await store.aggregate({ ...ask, aggregation: 'count' })).toEqual([
      { time: 3_600_000_000_000n, values: { n: 3400 } },
      { time: 0n, values: { n: 3600 } },
    ])
    const asked = posted.mock.calls.map(([message]) => message as { query?: string; args: { from: bigint } })
    const begins = asked.filter(({ query }) => query === 'aggregate').map(({ args }) => args.from)
    // Each of the five parts of a slice ends with the reading that makes it longer than 800 KB, or after 1,000.
    expect(begins).toEqual([0n, 1000n, 2000n].map((n) => (n === 0n ? 0n : (n - 1n) * 1_000_000_000n + 1n)))
    expect(await store.aggregate({ ...ask, aggregation: 'sum' })).toEqual([
      { time: 3_600_000_000_000n, values: { n: 18_018_300 } },
      { time: 0n, values: { n: 6_478_200 } },
    ])
  })

  it('gives every number back as it was sent: a million doubles', async () => {
    const { store } = await open()
    const random = fc.double({ noNaN: true, noDefaultInfinity: true })
    const special = fc.sample(random, 100_000)
    const perReading = 250
    const number = (n: number) =>
      n < special.length ? (special[n] as number) + 0 : Math.round(Math.random() * 4e7 * 10 ** (n % 4)) / 1e6
    const readings = Array.from({ length: 4000 }, (_, at) => ({
      time: BigInt(at + 1) * 1_000_000_000n,
      fields: Object.fromEntries(
        Array.from({ length: perReading }, (_, n) => [`f${n}`, number(at * perReading + n)]),
      ),
      metadata: undefined,
    }))
    for (let from = 0; from < readings.length; from += 500)
      await writeEntry(store, {
        deviceId: 1,
        deviceType: 'sensor',
        location: null,
        receivedAt: 1,
        readings: readings.slice(from, from + 500),
      })
    const differs = (found: readonly { values: Readonly<Record<string, FieldValue>> }[], first: number) =>
      found
        .toReversed()
        .filter(({ values }, at) =>
          Object.entries(readings[first + at]?.fields ?? {}).some(
            ([name, value]) => !Object.is(values[name], value),
          ),
        ).length
    const ofOneValue = aggregations.filter((one) => one !== 'count')
    // An answer has at most 200,000 values; each value is alone in its window.
    for (let first = 0; first < readings.length; first += 400) {
      const aggregation = ofOneValue[(first / 400) % ofOneValue.length] as Aggregation
      const range = { from: BigInt(first + 1) * 1_000_000_000n, to: BigInt(first + 401) * 1_000_000_000n }
      const ask = { deviceId: 1, field: undefined, ...range, aggregation, bounds: { every: 1 } }
      expect(differs(await store.aggregate(ask), first), aggregation).toBe(0)
    }
    const ask = { deviceId: 1, field: 'f7', ...everything, bounds: { every: 1 } } as const
    const means = await store.aggregate({ ...ask, aggregation: 'mean' })
    expect(means.map(({ values }) => values.f7)).toEqual(readings.map(({ fields }) => fields.f7).reverse())
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
      writeEntry(store, {
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
    const embedded = await openEmbedded({ at: { file }, log: createLog('silent'), retentionMs: 0 })
    const spool = embedded.spool({ maxBytes: 1e9, maxAgeMs: 1e9 })
    const [first] = await spool.oldest({ maxMessages: 10, maxBytes: 1000 })
    expect(first?.entry).toMatchObject({ deviceId: 7, readings: [{ fields: { a: 1 } }] })
    expect((await spool.state()).oldestAt).toBe(1_760_000_000_000)
    await embedded.close()
    await folder.remove()
  })

  it('says so when the file cannot be opened', async () => {
    const folder = await temporaryFolder()
    endings.push(() => folder.remove())
    // A folder stands where the file should be.
    await expect(openEmbedded({ at: { file: folder.path }, log, retentionMs: 0 })).rejects.toThrow()
  })

  it('says why a thread that reads cannot start, and reads again when it can', async () => {
    const lines: string[] = []
    const { store, file } = await open({ log: createLog('error', (text) => lines.push(text)) })
    await write(store, 1n, { a: 1 })
    await rename(file, `${file}-away`)
    await mkdir(file)
    await expect(store.checkQueries()).rejects.toThrow(expect.objectContaining({ code: 'UNAVAILABLE' }))
    await expect(store.count(1)).rejects.toThrow(expect.objectContaining({ code: 'UNAVAILABLE' }))
    await setImmediate()
    expect(lines.join('')).toContain('a thread of the telemetry store failed')
    expect(lines.join('')).toContain('SQLITE_CANTOPEN')
    await rmdir(file)
    await rename(`${file}-away`, file)
    await store.checkQueries()
    expect(await store.count(1)).toBe(1)
  })

  it('keeps its files to their owner', async () => {
    const { store, folder } = await open()
    await write(store, 1n, { a: 1 })
    expect((await stat(folder)).mode & 0o077).toBe(0)
    expect(await readdir(folder)).toContain('telemetry.db')
    await chmod(folder, 0o700)
  })
})
