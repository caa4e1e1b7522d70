import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { AppError } from '../../../lib/errors.ts'
import { createLog } from '../../../lib/log.ts'
import { openRegistry } from '../../../lib/registry/db.ts'
import { createDeadLetters } from '../../../lib/telemetry/dead-letters.ts'
import { createDirectIntake, type EmbeddedStore, openEmbeddedStore } from '../../../lib/telemetry/embedded.ts'
import { createSpooledIntake, type SpoolOptions } from '../../../lib/telemetry/spool.ts'
import type { WriteEntry } from '../../../lib/telemetry/store.ts'
import { unavailable } from '../../../lib/telemetry/write-queue.ts'
import { balance, intakeContract, readingAt } from '../../support/intake-contract.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const log = createLog('silent')
const open = (folder: string, name: string) =>
  openEmbeddedStore({ at: { file: join(folder, name) }, log, retentionMs: 0 })

intakeContract('into the embedded store', async () => {
  const folder = await temporaryFolder()
  const store = await open(folder.path, 'telemetry.db')
  return {
    intake: createDirectIntake(store),
    store,
    async end() {
      await store.close()
      await folder.remove()
    },
  }
})

const generous = { maxBytes: 1e9, maxAgeMs: 1e9 }

intakeContract('through the spool', async () => {
  const folder = await temporaryFolder()
  const ledger = await open(folder.path, 'ledger.db')
  const store = await open(folder.path, 'telemetry.db')
  const intake = createSpooledIntake({
    ledger,
    store,
    bury: () => Promise.reject(new Error('nothing is refused here')),
    log,
    waitMs: 10_000,
    ...generous,
  })
  return {
    intake,
    store,
    async end() {
      await intake.close()
      await Promise.all([ledger.close(), store.close()])
      await folder.remove()
    },
  }
})

describe('the spool', () => {
  const endings: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of endings.splice(0).reverse()) await end()
  })

  /** A store that can be taken away; what it was given is kept in order. */
  const make = async (options: Partial<SpoolOptions> & { path?: string } = {}) => {
    const folder = options.path === undefined ? await temporaryFolder() : undefined
    const path = options.path ?? folder?.path ?? ''
    const ledger: EmbeddedStore = await open(path, 'ledger.db')
    const written: number[] = []
    const buried: unknown[] = []
    const behaviour = {
      fails: undefined as (() => Error | Promise<never>) | undefined,
      refuses: [] as number[],
    }
    const intake = createSpooledIntake({
      ledger,
      store: {
        async write(entry: WriteEntry) {
          if (behaviour.fails) throw await behaviour.fails()
          const values = entry.readings.map(({ fields }) => fields.value as number)
          if (values.some((value) => behaviour.refuses.includes(value)))
            throw new AppError('VALIDATION_FAILED', 'The telemetry store refused the reading.')
          written.push(...values)
        },
      },
      bury: async (entry) => {
        buried.push(...entry.readings.map(({ fields }) => fields.value))
      },
      log,
      retryMs: { first: 10, longest: 40 },
      ...generous,
      ...options,
    })
    const end = async () => {
      await intake.close()
      await ledger.close()
    }
    endings.push(async () => {
      await end()
      await folder?.remove()
    })
    const take = (values: readonly number[], keys?: readonly string[], deviceId = 1) =>
      intake.take({
        deviceId,
        deviceType: 'sensor',
        location: null,
        receivedAt: Date.now(),
        readings: values.map((value) => readingAt(value, value)),
        keys,
        rejected: 0,
      })
    return { intake, ledger, written, buried, behaviour, take, path, end }
  }

  it('answers queued while the store is away, and hands on in order when it is back', async () => {
    const { intake, written, behaviour, take } = await make()
    behaviour.fails = () => unavailable()
    for (let n = 1; n <= 20; n += 1) expect(await take([n])).toMatchObject({ stored: 0, queued: 1 })
    expect(await intake.account(1)).toMatchObject({ received: 20, stored: 0, spooled: 20 })
    expect(await intake.spool()).toMatchObject({ depth: 20 })
    behaviour.fails = undefined
    await vi.waitFor(async () => expect(await intake.spool()).toMatchObject({ depth: 0, bytes: 0 }))
    expect(written).toEqual(Array.from({ length: 20 }, (_, n) => n + 1))
    expect(await intake.account(1)).toMatchObject({ received: 20, stored: 20, spooled: 0 })
    await vi.waitFor(async () => expect(await take([21])).toMatchObject({ stored: 1, queued: 0 }))
  })

  it('answers within its time while the store hangs', async () => {
    const { behaviour, take, written } = await make({ waitMs: 100 })
    let release = () => {}
    const hanging = new Promise<void>((resolve) => {
      release = resolve
    })
    behaviour.fails = async () => {
      await hanging
      throw unavailable()
    }
    expect(await take([1])).toMatchObject({ queued: 1 })
    behaviour.fails = undefined
    release()
    await vi.waitFor(() => expect(written).toEqual([1]))
  })

  it('keeps what waits over a new start', async () => {
    const first = await make()
    first.behaviour.fails = () => unavailable()
    await first.take([1, 2], ['a', 'b'])
    await first.end()
    const second = await make({ path: first.path })
    await vi.waitFor(() => expect(second.written).toEqual([1, 2]))
    expect((await second.take([3], ['a'])).duplicates).toBe(1)
    expect(await second.intake.account(1)).toEqual({
      received: 3,
      stored: 2,
      spooled: 0,
      rejected: 0,
      duplicates: 1,
    })
  })

  it('finds the one bad reading of a message, and buries that alone', async () => {
    const { intake, written, buried, behaviour, take } = await make()
    behaviour.refuses = [3]
    await take([1, 2, 3, 4])
    await vi.waitFor(async () => expect(await intake.spool()).toMatchObject({ depth: 0 }))
    expect(written).toEqual([1, 2, 4])
    expect(buried).toEqual([3])
    expect(await intake.account(1)).toMatchObject({ received: 4, stored: 3, rejected: 1, spooled: 0 })
  })

  it('buries and counts a refused reading once, where several hand on the same spool', async () => {
    let goOn = () => {}
    const both = new Promise<void>((resolve) => {
      goOn = resolve
    })
    let refusals = 0
    const store = {
      async write({ readings }: WriteEntry) {
        if (!readings.some(({ fields }) => fields.value === 3)) return
        if (readings.length === 1) {
          refusals += 1
          if (refusals === 2) goOn()
          await Promise.race([both, sleep(3000)])
        }
        throw new AppError('VALIDATION_FAILED', 'The telemetry store refused the reading.')
      },
    }
    const folder = await temporaryFolder()
    const url = `file:${join(folder.path, 'registry.db')}`
    const registry = await openRegistry({ url })
    await registry.migrate()
    const letters = createDeadLetters({ db: registry.db })
    const bury: SpoolOptions['bury'] = ({ deviceId, receivedAt }, reason, key) =>
      letters.keep({
        deviceId,
        topic: 't',
        payload: Buffer.from('{}'),
        reason,
        receivedAt,
        messageId: key ?? '',
        once: true,
      })
    const away = { write: () => Promise.reject(unavailable()) }
    const first = await make({ store: away })
    await first.take(Array.from({ length: 10 }, (_, n) => n))
    await first.end()
    const [one, other] = await Promise.all([
      make({ path: first.path, store, bury }),
      make({ path: first.path, store, bury }),
    ])
    await vi.waitFor(async () => expect(await one.intake.spool()).toMatchObject({ depth: 0 }), 5000)
    await Promise.all([one.end(), other.end()])
    expect(refusals).toBe(2)
    const ledger = await open(first.path, 'ledger.db')
    expect(await ledger.account(1)).toMatchObject({ received: 10, stored: 9, rejected: 1, spooled: 0 })
    expect((await letters.list({ limit: 10 })).total).toBe(1)
    await ledger.close()
    registry.close()
    await folder.remove()
  })

  it('takes nothing more when it is full, and again when there is room', async () => {
    const { intake, behaviour, take } = await make({ maxBytes: 400 })
    behaviour.fails = () => unavailable()
    expect(await intake.keeps()).toBe(true)
    let refused: unknown
    for (let n = 0; n < 50 && refused === undefined; n += 1) {
      await take([n]).catch((error: unknown) => {
        refused = error
      })
      await sleep(30)
    }
    expect(refused).toMatchObject({ code: 'UNAVAILABLE', retryAfterS: 30 })
    expect(await intake.keeps()).toBe(false)
    const account = await intake.account(1)
    expect(balance(account)).toBe(0)
    expect(account.spooled).toBe(account.received)
    behaviour.fails = undefined
    await vi.waitFor(async () => expect(await take([100])).toMatchObject({ duplicates: 0 }), 5000)
  })

  it('takes nothing more when the oldest has waited too long', async () => {
    let ahead = 0
    const { behaviour, take } = await make({ maxAgeMs: 60_000, now: () => Date.now() + ahead })
    behaviour.fails = () => unavailable()
    await take([1])
    ahead = 61_000
    await vi.waitFor(() => expect(take([2])).rejects.toMatchObject({ code: 'UNAVAILABLE' }), 5000)
  })

  it('goes by how long a message has been in it, not by how long ago it arrived', async () => {
    const { intake, behaviour, take } = await make({ maxAgeMs: 60_000 })
    behaviour.fails = () => unavailable()
    const replayed = { deviceId: 1, deviceType: 'sensor', location: null, rejected: 0 }
    await intake.take({ ...replayed, receivedAt: Date.now() - 1e9, readings: [readingAt(1, 1)] })
    await sleep(300)
    expect(await take([2])).toMatchObject({ queued: 1 })
    expect(Date.now() - ((await intake.spool())?.oldestAt ?? 0)).toBeLessThan(30_000)
  })

  it('is measured in bytes', async () => {
    const { intake, behaviour } = await make()
    behaviour.fails = () => unavailable()
    const message = { deviceId: 1, deviceType: 'sensor', location: null, receivedAt: Date.now(), rejected: 0 }
    const readings = [{ ...readingAt(1, 1), fields: { note: '😀'.repeat(500) } }]
    for (const keys of [undefined, ['a']]) {
      const before = (await intake.spool())?.bytes ?? 0
      await intake.take({ ...message, readings, keys })
      expect(((await intake.spool())?.bytes ?? 0) - before).toBeGreaterThan(2000)
    }
  })

  it('lets the last written win when an earlier message is written late', async () => {
    const first = await make()
    first.behaviour.fails = () => unavailable()
    for (const value of [1, 2]) await first.take([value])
    await first.take([3], undefined, 7)
    await first.end()
    const written: unknown[] = []
    let failures = 1
    const second = await make({
      path: first.path,
      store: {
        async write({ deviceId, readings }: WriteEntry) {
          if (deviceId === 1 && failures > 0) {
            failures -= 1
            throw unavailable()
          }
          written.push(readings[0]?.fields.value)
        },
      },
    })
    await vi.waitFor(async () => expect(await second.intake.spool()).toMatchObject({ depth: 0 }), 5000)
    expect(written.filter((value) => value !== 3).at(-1)).toBe(2)
    expect(written.filter((value) => value === 1)).toHaveLength(1)
    expect(written.filter((value) => value === 3)).toHaveLength(1)
    expect(await second.intake.account()).toMatchObject({ received: 3, stored: 3, spooled: 0 })
  })

  it('leaves live traffic as much time as it takes itself, however much comes in', async () => {
    const first = await make()
    first.behaviour.fails = () => unavailable()
    await first.take([1])
    await first.end()
    let [rounds, writing] = [0, 0]
    const { take } = await make({
      path: first.path,
      // What waits is a backlog from the beginning, and stays one.
      now: () => Date.now() + 5000,
      store: {
        async write() {
          if (writing === 0) rounds += 1
          writing += 1
          await sleep(200)
          writing -= 1
        },
      },
    })
    const until = performance.now() + 2000
    for (let n = 2; performance.now() < until; n += 1) {
      await take([n])
      await sleep(5)
    }
    // Without a pause there would be one each 200 ms.
    expect(rounds).toBeGreaterThan(0)
    expect(rounds).toBeLessThanOrEqual(7)
  })

  it('hands on nothing of a range any more once it is dropped', async () => {
    const first = await make()
    first.behaviour.fails = () => unavailable()
    await first.take([1])
    await first.end()
    const ledger = await open(first.path, 'ledger.db')
    const written: unknown[] = []
    let looked = () => {}
    const looking = new Promise<void>((resolve) => {
      looked = resolve
    })
    const intake = createSpooledIntake({
      ledger: {
        ...ledger,
        async spooled(limits) {
          const batch = await ledger.spooled(limits)
          looked()
          await sleep(150)
          return batch
        },
      },
      store: { write: async ({ readings }) => void written.push(readings) },
      bury: () => Promise.resolve(),
      log,
      ...generous,
    })
    await looking
    await intake.dropSpooled(1, { from: 0n, to: 2n ** 62n })
    const before = written.length
    await sleep(400)
    expect(written).toHaveLength(before)
    await intake.close()
    await ledger.close()
  })

  it('ends while the store hangs, and keeps what was on its way', async () => {
    const { intake, ledger, take } = await make({ waitMs: 50, store: { write: () => new Promise(() => {}) } })
    expect(await take([1])).toMatchObject({ queued: 1 })
    await intake.close()
    expect(await ledger.spoolState()).toMatchObject({ depth: 1 })
  })

  it('drops the readings of a range and counts them as stored', async () => {
    const { intake, written, behaviour, take } = await make()
    behaviour.fails = () => unavailable()
    await take([1, 2, 3])
    await take([2], undefined, 7)
    await take([2])
    await intake.dropSpooled(1, { from: readingAt(2, 0).time, to: readingAt(3, 0).time })
    expect(await intake.spool()).toMatchObject({ depth: 3 })
    expect(await intake.account(1)).toMatchObject({ received: 4, stored: 2, spooled: 2 })
    behaviour.fails = undefined
    await vi.waitFor(() => expect(written).toEqual([1, 3, 2]))
    await vi.waitFor(async () => expect(await intake.spool()).toMatchObject({ depth: 0, bytes: 0 }))
    expect(balance(await intake.account())).toBe(0)
  })

  it('takes and hands on at the same time, exactly once', async () => {
    const { intake, written, behaviour, take } = await make()
    const flap = setInterval(() => {
      behaviour.fails = behaviour.fails ? undefined : () => unavailable()
    }, 15)
    const all = Array.from({ length: 400 }, (_, n) => n)
    await Promise.all(
      all.map(async (n) => {
        await sleep(n)
        await take([n], [String(n)])
      }),
    )
    clearInterval(flap)
    behaviour.fails = undefined
    await vi.waitFor(async () => expect(await intake.spool()).toMatchObject({ depth: 0 }), 5000)
    expect([...new Set(written)].sort((one, other) => one - other)).toEqual(all)
    expect(await intake.account(1)).toMatchObject({ received: 400, stored: 400, spooled: 0, duplicates: 0 })
  })
})
