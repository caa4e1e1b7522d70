/** The journal of the embedded store: nothing of it is lost, folded twice or in another order, whoever folds it and when. */
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { createLog } from '../../../lib/log.ts'
import { openEmbeddedStore } from '../../../lib/telemetry/embedded.ts'
import { answerOn, prepareTables } from '../../../lib/telemetry/embedded-answers.ts'
import { openFile } from '../../../lib/telemetry/embedded-file.ts'
import { lineOf } from '../../../lib/telemetry/embedded-message.ts'
import type { Ask, Row, Written } from '../../../lib/telemetry/embedded-sql.ts'
import { temporaryFolder } from '../../support/temporary.ts'

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
  const answer = answerOn(connection)
  let open = true
  const close = async () => {
    if (open) connection.close()
    open = false
  }
  endings.push(close)
  return {
    answer,
    close,
    run: (sql: string) => connection.execute({ sql }),
    rows: (ask: Ask) => answer(ask) as Promise<Row[]>,
    async append(lines: readonly string[]) {
      const messages = { count: lines.length, text: lines.join('\n') }
      expect(((await answer({ op: 'append', messages })) as Written).failed).toEqual([])
    },
    async foldAll() {
      // What came after a round had begun is folded in the next.
      for (const _ of ['begun', 'next']) while (await answer({ op: 'fold', deviceId: undefined })) {}
    },
  }
}

const line = (deviceId: number, ts: number, fields: object, rejected = 0) =>
  lineOf({
    deviceId,
    receivedAt: 1_700_000_000_000,
    count: 1,
    received: 1 + rejected,
    rejected,
    keyed: false,
    rows: JSON.stringify([deviceId, String(ts), fields, null, 1_700_000_000_000, 'sensor', null]),
  })

const total = [{ op: 'account', deviceId: undefined }, { journal: 'fold' }] as const

describe('the journal', () => {
  it('is folded slice by slice, while more comes, and is empty then', async () => {
    const file = await newFile()
    const { append, answer, run, foldAll } = await connect(file)
    await append([line(9, 0, { n: 0 })])
    await foldAll()
    const sent = 2000
    for (let n = 0; n < sent; n += 20)
      await append(Array.from({ length: 20 }, (_, at) => line(((n + at) % 5) + 1, n + at + 1, { n: n + at })))
    let slices = 0
    let late = 0
    let more = true
    while (more) {
      more = (await answer({ op: 'fold', deviceId: undefined })) as boolean
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
        let rejected = 0
        const check = async (device: number) => {
          const found = await processes[0]?.rows({
            op: 'history',
            deviceId: device,
            from: 0n,
            to: 100n,
            fields: undefined,
            limit: 100,
            descending: false,
            journal: 'fold',
          })
          const times = [...(kept.get(device) ?? [])].sort(([one], [other]) => one - other)
          expect(found?.map(([ts, fields]) => [Number(ts), JSON.parse(String(fields))])).toEqual(times)
        }
        for (const one of steps) {
          if ('append' in one) {
            const lines = one.append.map(({ device, at, names, rejected: refused }) => {
              const fields = Object.fromEntries(names.map((name) => [name, value++]))
              const times = kept.get(device) ?? new Map<number, Record<string, number>>()
              kept.set(device, times)
              times.set(at, { ...times.get(at), ...fields })
              received += 1 + refused
              rejected += refused
              return line(device, at, fields, refused)
            })
            await processes[one.by]?.append(lines)
          } else if ('fold' in one)
            await processes[one.by]?.answer({ op: 'fold', deviceId: one.fold ?? undefined })
          else if ('end' in one) {
            await processes[one.end]?.close()
            processes[one.end] = await connect(file)
          } else await check(one.ask)
        }
        for (const device of [1, 2, 3]) await check(device)
        expect(await processes[1]?.rows({ ...total[0], ...total[1] })).toEqual([
          [received, received - rejected, 0, rejected, 0],
        ])
        await processes[1]?.foldAll()
        expect(await processes[0]?.rows(total[0])).toEqual([[received, received - rejected, 0, rejected, 0]])
        for (const device of [1, 2, 3]) await check(device)
        expect(await processes[0]?.run('SELECT count(*) FROM journal')).toEqual([[0n]])
        for (const { close } of processes) await close()
      }),
      // To make a failure smaller takes longer than a test may.
      { numRuns: 150, endOnFailure: true },
    )
  })

  it('answers as if all were in place, and takes nothing of it away, where it cannot be folded', async () => {
    const file = await newFile()
    const full = await connect(file)
    await full.append(Array.from({ length: 300 }, (_, n) => line(1, n + 1, { n, text: 'x'.repeat(200) })))
    const [[pages] = []] = await full.run('PRAGMA page_count')
    await full.run(`PRAGMA max_page_count = ${pages}`)
    await expect(full.foldAll()).rejects.toMatchObject({ code: 'SQLITE_FULL' })
    const other = await connect(file)
    const count = { op: 'countReadings', deviceId: 1, from: 0n, to: 1000n } as const
    expect(await other.answer({ ...count, journal: 'tell' })).toBe('waiting')
    expect(await other.answer({ ...count, journal: 'fold' })).toEqual([[300n]])
    expect(await other.answer(count)).toEqual([[0n]])
    await full.run('PRAGMA max_page_count = 1000000')
    await full.foldAll()
    expect(await other.answer({ ...count, journal: 'tell' })).toEqual([[300n]])
  })

  it('is emptied by itself when nobody asks, also of what comes while it is folded', async () => {
    const file = await newFile()
    const log = createLog('silent')
    const store = await openEmbeddedStore({ at: { file }, log, retentionMs: 0 })
    endings.push(() => store.close())
    const { run } = await connect(file)
    const about = { deviceType: 'sensor', location: null, receivedAt: 1_700_000_000_000 }
    const write = (sent: number) =>
      store.write({
        ...about,
        deviceId: sent % 50,
        readings: [{ time: BigInt(sent + 1), fields: { sent }, metadata: undefined }],
      })
    const inPlace = async () => Number((await run('SELECT count(*) FROM readings'))[0]?.[0])
    // The first fold of a process is of everything, those after it are in slices.
    await write(0)
    await expect.poll(inPlace, { timeout: 20_000 }).toBe(1)
    const most = 20_000
    await Promise.all(Array.from({ length: most }, (_, at) => write(at + 1)))
    await expect.poll(inPlace, { timeout: 20_000, interval: 1 }).toBeGreaterThan(1)
    // Of a device that has had its turn.
    await write(most + 1)
    await expect.poll(inPlace, { timeout: 10_000 }).toBe(most + 2)
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
      const found = await openEmbeddedStore({ at: { file: image }, log, retentionMs: 0, readOnly })
      expect(await found.countSince(0n)).toBe(200)
      expect(await found.count(2)).toBe(50)
      expect((await found.latest(4))?.fields).toEqual({ n: 199 })
      expect(await found.account()).toMatchObject({ received: 200, stored: 200 })
      await found.close()
    }
  })
})
