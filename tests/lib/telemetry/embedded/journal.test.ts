/** The journal of the embedded store: nothing of it is lost, folded twice or in another order, whoever folds it and when. */
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createLog } from '../../../../lib/log.ts'
import type { Row } from '../../../../lib/telemetry/embedded/connection.ts'
import { openFile } from '../../../../lib/telemetry/embedded/file.ts'
import { encodeMessage } from '../../../../lib/telemetry/embedded/journal.ts'
import { openEmbedded } from '../../../../lib/telemetry/embedded/open.ts'
import { readingRequests } from '../../../../lib/telemetry/embedded/reading-requests.ts'
import {
  answer,
  type ChangeRequest,
  commonRequests,
  messagesWait,
  type QueryRequest,
} from '../../../../lib/telemetry/embedded/requests.ts'
import { prepareTables } from '../../../../lib/telemetry/embedded/schema.ts'
import { DatabaseSession } from '../../../../lib/telemetry/embedded/session.ts'
import { temporaryFolder } from '../../../support/temporary.ts'
import { writeEntry } from '../../../support/write-entry.ts'

const endings: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

const newFile = async () => {
  const folder = await temporaryFolder()
  endings.push(() => folder.remove())
  return join(folder.path, 'telemetry.db')
}

const connect = async (file: string) => {
  const connection = openFile(file, false)
  await prepareTables(connection)
  const session = new DatabaseSession(connection)
  const handle = (request: QueryRequest | ChangeRequest) =>
    answer(session, request, [commonRequests, readingRequests])
  let open = true
  const close = async () => {
    if (open) connection.close()
    open = false
  }
  endings.push(close)
  return {
    handle,
    close,
    journal: session.journal,
    run: (sql: string) => connection.execute({ sql }),
    rows: (request: QueryRequest) => handle(request) as Promise<Row[]>,
    async append(lines: readonly string[]) {
      const written = session.journal?.append({ count: lines.length, text: lines.join('\n') })
      expect(written?.failed).toEqual([])
    },
    async foldAll() {
      // What came after a round had begun is folded in the next.
      for (const _ of ['begun', 'next'])
        while (await handle({ change: 'fold', args: { deviceId: undefined } })) {}
    },
  }
}

const line = (deviceId: number, ts: number, fields: object, rejected = 0, warned = 0) =>
  encodeMessage(
    {
      deviceId,
      receivedAt: 1_700_000_000_000,
      deviceType: 'sensor',
      location: null,
      readings: [{ time: BigInt(ts), fields: { ...fields }, metadata: undefined }],
    },
    { counted: true, rejected, warned },
  )

const total = { query: 'account', args: { deviceId: undefined } } as const

describe('the journal', () => {
  it('is folded slice by slice, while more comes, and is empty then', async () => {
    const file = await newFile()
    const { append, handle, run, foldAll } = await connect(file)
    await append([line(9, 0, { n: 0 })])
    await foldAll()
    const sent = 4000
    for (let n = 0; n < sent; n += 20)
      await append(Array.from({ length: 20 }, (_, at) => line(((n + at) % 5) + 1, n + at + 1, { n: n + at })))
    let slices = 0
    let late = 0
    let more = true
    while (more) {
      more = (await handle({ change: 'fold', args: { deviceId: undefined } })) as boolean
      slices += 1
      if (more) {
        await append([line((slices % 7) + 1, 10_000 + slices, { n: slices })])
        late += 1
      }
    }
    expect(slices).toBeGreaterThan(10)
    await foldAll()
    expect(await run('SELECT count(*) FROM readings')).toEqual([[BigInt(1 + sent + late)]])
    expect(await run('SELECT sum(received), sum(stored) FROM accounting')).toEqual([
      [BigInt(1 + sent + late), BigInt(1 + sent + late)],
    ])
    expect(await run('SELECT (SELECT count(*) FROM journal), (SELECT count(*) FROM folded)')).toEqual([
      [0n, 0n],
    ])
  })

  it('keeps the order of each device, whatever is folded when, by whom, and wherever it ends', async () => {
    const message = fc.record({
      device: fc.integer({ min: 1, max: 3 }),
      at: fc.integer({ min: 0, max: 5 }),
      names: fc.subarray(['a', 'b', 'c'], { minLength: 1 }),
      rejected: fc.integer({ min: 0, max: 1 }),
      warned: fc.integer({ min: 0, max: 1 }),
    })
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          by: fc.nat(1),
          append: fc.array(message, { minLength: 1, maxLength: 300, size: 'max' }),
        }),
      },
      { weight: 4, arbitrary: fc.record({ by: fc.nat(1), fold: fc.option(fc.integer({ min: 1, max: 3 })) }) },
      { weight: 1, arbitrary: fc.record({ end: fc.nat(1) }) },
      { weight: 1, arbitrary: fc.record({ ask: fc.integer({ min: 1, max: 3 }) }) },
    )
    let value = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
        const file = await newFile()
        const both = [await connect(file), await connect(file)] as const
        const processes = [...both]
        const kept = new Map<number, Map<number, Record<string, number>>>()
        let received = 0
        let [rejected, warned] = [0, 0]
        const check = async (device: number) => {
          const found = await processes[0]?.rows({
            query: 'history',
            args: { deviceId: device, from: 0n, to: 100n, fields: undefined, limit: 100, order: 'asc' },
            journal: 'fold',
          })
          const times = [...(kept.get(device) ?? [])].sort(([one], [other]) => one - other)
          expect(found?.map(([ts, fields]) => [Number(ts), JSON.parse(String(fields))])).toEqual(times)
        }
        for (const one of steps) {
          if ('append' in one) {
            const lines = one.append.map(({ device, at, names, rejected: refused, warned: changed }) => {
              const fields = Object.fromEntries(names.map((name) => [name, value++]))
              const times = kept.get(device) ?? new Map<number, Record<string, number>>()
              kept.set(device, times)
              times.set(at, { ...times.get(at), ...fields })
              received += 1 + refused
              rejected += refused
              warned += changed
              return line(device, at, fields, refused, changed)
            })
            await processes[one.by]?.append(lines)
          } else if ('fold' in one)
            await processes[one.by]?.handle({ change: 'fold', args: { deviceId: one.fold ?? undefined } })
          else if ('end' in one) {
            await processes[one.end]?.close()
            processes[one.end] = await connect(file)
          } else await check(one.ask)
        }
        for (const device of [1, 2, 3]) await check(device)
        const sums = [[received, received - rejected, 0, rejected, 0, warned]]
        expect(await processes[1]?.rows({ ...total, journal: 'fold' })).toEqual(sums)
        await processes[1]?.foldAll()
        expect(await processes[0]?.rows(total)).toEqual(sums)
        for (const device of [1, 2, 3]) await check(device)
        expect(await processes[0]?.run('SELECT count(*) FROM journal')).toEqual([[0n]])
        for (const { close } of processes) await close()
      }),
      // To make a failure smaller takes longer than a test may.
      { numRuns: 150, endOnFailure: true },
    )
  })

  it('answers as if the journal were folded, and leaves it as it is, where it cannot be folded', async () => {
    const file = await newFile()
    const full = await connect(file)
    await full.append(Array.from({ length: 300 }, (_, n) => line(1, n + 1, { n, text: 'x'.repeat(200) })))
    const [[pages] = []] = await full.run('PRAGMA page_count')
    await full.run(`PRAGMA max_page_count = ${pages}`)
    await expect(full.foldAll()).rejects.toMatchObject({ code: 'SQLITE_FULL' })
    const other = await connect(file)
    const count = { query: 'countReadings', args: { deviceId: 1, from: 0n, to: 1000n } } as const
    expect(await other.handle({ ...count, journal: 'report' })).toBe(messagesWait)
    expect(await other.handle({ ...count, journal: 'fold' })).toEqual([[300n]])
    expect(await other.handle(count)).toEqual([[0n]])
    await full.run('PRAGMA max_page_count = 1000000')
    await full.foldAll()
    expect(await other.handle({ ...count, journal: 'report' })).toEqual([[300n]])
  })

  it('has none of the messages that a full disk refused, and takes the next ones when there is room', async () => {
    const { append, foldAll, handle, journal, run } = await connect(await newFile())
    await append([line(1, 1, { n: 1 })])
    await foldAll()
    const [[pages] = []] = await run('PRAGMA page_count')
    await run(`PRAGMA max_page_count = ${pages}`)
    const text = [2, 3].map((ts) => line(1, ts, { text: 'x'.repeat(100_000) })).join('\n')
    expect(journal?.append({ count: 2, text })).toMatchObject({ failed: [0, 1], code: 'SQLITE_FULL' })
    await run('PRAGMA max_page_count = 1000000')
    await append([line(1, 4, { n: 4 })])
    await foldAll()
    const count = { query: 'countReadings', args: { deviceId: 1, from: 0n, to: 1000n } } as const
    expect(await handle({ ...count, journal: 'report' })).toEqual([[2n]])
  })

  it('stays as it is for a query that may lag', async () => {
    const file = await newFile()
    const log = createLog('silent')
    const { store, close } = await openEmbedded({ at: { file }, log, retentionMs: 0 })
    endings.push(close)
    // The fold that follows each message by itself.
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    const write = (time: bigint) =>
      writeEntry(store, {
        deviceType: 'sensor',
        location: null,
        receivedAt: 1_700_000_000_000,
        deviceId: 1,
        readings: [{ time, fields: { t: 1 }, metadata: undefined }],
      })
    await write(1n)
    expect(await store.countSince(0n)).toBe(1)
    await write(2n)
    expect(await store.countSince(0n, { mayLag: true })).toBe(1)
    vi.advanceTimersByTime(1000)
    vi.useRealTimers()
    await expect.poll(() => store.countSince(0n, { mayLag: true })).toBe(2)
  })

  it('is emptied by itself when nobody asks, also of what comes while it is folded', async () => {
    const file = await newFile()
    const log = createLog('silent')
    const { store, close } = await openEmbedded({ at: { file }, log, retentionMs: 0 })
    endings.push(close)
    const { run } = await connect(file)
    const about = { deviceType: 'sensor', location: null, receivedAt: 1_700_000_000_000 }
    const write = (sent: number) =>
      writeEntry(store, {
        ...about,
        deviceId: sent % 50,
        readings: [{ time: BigInt(sent + 1), fields: { sent }, metadata: undefined }],
      })
    const inPlace = async () => Number((await run('SELECT count(*) FROM readings'))[0]?.[0])
    // The first fold of a process is of everything, those after it are in slices.
    await write(0)
    await expect.poll(inPlace).toBe(1)
    const most = 20_000
    await Promise.all(Array.from({ length: most }, (_, at) => write(at + 1)))
    await expect.poll(inPlace, { interval: 1 }).toBeGreaterThan(1)
    // Of a device that has had its turn.
    await write(most + 1)
    await expect.poll(inPlace).toBe(most + 2)
    expect(await run('SELECT count(*) FROM journal')).toEqual([[0n]])
  })

  it('has what a process left that ended at once, for those that only read too', async () => {
    const file = await newFile()
    const log = createLog('silent')
    const { append } = await connect(file)
    for (let n = 0; n < 200; n += 20)
      await append(Array.from({ length: 20 }, (_, at) => line(((n + at) % 4) + 1, n + at + 1, { n: n + at })))
    const image = join(await newFile(), '..', 'image.db')
    await cp(file, image)
    await cp(`${file}-wal`, `${image}-wal`)
    const connection = openFile(image, true)
    const [[waiting] = []] = await connection.execute({ sql: 'SELECT count(*) FROM journal' })
    expect(Number(waiting)).toBeGreaterThan(0)
    connection.close()
    for (const readOnly of [true, false]) {
      const found = await openEmbedded({ at: { file: image }, log, retentionMs: 0, readOnly })
      expect(await found.store.countSince(0n)).toBe(200)
      expect(await found.store.count(2)).toBe(50)
      expect((await found.store.latest(4, 2n ** 62n))?.fields).toEqual({ n: 199 })
      expect(await found.ledger.account()).toMatchObject({ received: 200, stored: 200 })
      await found.close()
    }
  })

  it('folds the entries that an earlier version wrote', async () => {
    const { append, run, foldAll } = await connect(await newFile())
    const legacy = [
      `7 1700000000000 2 3 1 0\t[7,"1",{"a":1},null,1700000000000,"pump","Lab"],[7,"2",{"b":"x\\ty"},{"m":"1"},1700000000000,"pump","Lab"]`,
      `8 1700000000001 1 0 0 0\t[8,"3",{"c":true},null,1700000000001,"sensor",null]`,
    ]
    await run(`INSERT INTO journal (lines) VALUES ('${legacy.join('\n')}')`)
    await append([line(7, 4, { a: 2 })])
    await foldAll()
    expect(await run('SELECT device_id, ts, fields, metadata, device_type, location FROM readings')).toEqual([
      [7n, 1n, '{"a":1}', null, 'pump', 'Lab'],
      [7n, 2n, '{"b":"x\\ty"}', '{"m":"1"}', 'pump', 'Lab'],
      [7n, 4n, '{"a":2}', null, 'sensor', null],
      [8n, 3n, '{"c":true}', null, 'sensor', null],
    ])
    expect(await run('SELECT device_id, received, stored, rejected FROM accounting')).toEqual([
      [7n, 4n, 3n, 1n],
    ])
  })
})
