import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { createLog } from '../../../../lib/log.ts'
import { openRegistry } from '../../../../lib/registry/db.ts'
import { createDeadLetters } from '../../../../lib/telemetry/dead-letters.ts'
import { openEmbedded } from '../../../../lib/telemetry/embedded/open.ts'
import { Intake } from '../../../../lib/telemetry/intake/intake.ts'
import { SpoolDrain, type SpoolDrainOptions } from '../../../../lib/telemetry/intake/spool-drain.ts'
import { type KeepDeadLetter, StoreWriter } from '../../../../lib/telemetry/intake/store-writer.ts'
import type { DrainableSpool } from '../../../../lib/telemetry/spool.ts'
import type { TelemetryStore, WriteEntry, WriteOutcome } from '../../../../lib/telemetry/store.ts'
import { allUnavailable, unavailable } from '../../../../lib/telemetry/unavailable.ts'
import { balance, intakeContract, readingAt } from '../../../support/intake-contract.ts'
import { temporaryFolder } from '../../../support/temporary.ts'
import { eventually } from '../../../support/waiting.ts'

const log = createLog('silent')
const open = (folder: string, name: string) =>
  openEmbedded({ at: { file: join(folder, name) }, log, retentionMs: 0 })

intakeContract('into the embedded store', async () => {
  const folder = await temporaryFolder()
  const { writer, ledger, store, close } = await open(folder.path, 'telemetry.db')
  return {
    intake: new Intake({ writer, ledger, retentionMs: 0, log }),
    ledger,
    store,
    async end() {
      await close()
      await folder.remove()
    },
  }
})

interface SpoolingOptions {
  store: Pick<TelemetryStore, 'write'>
  keepDeadLetter: KeepDeadLetter
  patienceMs?: number
  maxBytes?: number
  maxAgeMs?: number
  now?: () => number
  limits?: SpoolDrainOptions['limits']
  /** Stands between the drain and the spool. */
  around?: (spool: DrainableSpool) => DrainableSpool
}

/** The intake as a standalone server with InfluxDB builds it. */
const spooling = (embedded: Awaited<ReturnType<typeof open>>, options: SpoolingOptions) => {
  const { store, keepDeadLetter, patienceMs = 1000, limits, around = (spool) => spool } = options
  const { maxBytes = 1e9, maxAgeMs = 1e9, now } = options
  const { ledger } = embedded
  const writer = new StoreWriter({ store, ledger, keepDeadLetter, patienceMs })
  const spool = around(embedded.spool({ maxBytes, maxAgeMs, now }))
  const drain = new SpoolDrain({
    spool,
    store,
    keepDeadLetter,
    log,
    writesEnded: () => writer.writesEnded(),
    retryMs: { first: 10, longest: 40 },
    limits,
  })
  return { intake: new Intake({ writer, ledger, retentionMs: 0, log, spool, drain }), spool }
}

const nothingIsRefused = () => Promise.reject(new Error('nothing is refused here'))

intakeContract('with a spool beside the store', async () => {
  const folder = await temporaryFolder()
  const [first, second] = [await open(folder.path, 'ledger.db'), await open(folder.path, 'telemetry.db')]
  const { store } = second
  const { intake } = spooling(first, { store, keepDeadLetter: nothingIsRefused, patienceMs: 10_000 })
  return {
    intake,
    ledger: first.ledger,
    store,
    async end() {
      await intake.close()
      await Promise.all([first.close(), second.close()])
      await folder.remove()
    },
  }
})

describe('the spool', () => {
  const endings: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of endings.splice(0).reverse()) await end()
  })

  /** A store that can fail and refuse; its readings are kept in the order of their writes. */
  const make = async (options: Partial<SpoolingOptions> & { path?: string } = {}) => {
    const folder = options.path === undefined ? await temporaryFolder() : undefined
    const path = options.path ?? folder?.path ?? ''
    const embedded = await open(path, 'ledger.db')
    const { ledger } = embedded
    const written: number[] = []
    const deadLetters: unknown[] = []
    const behaviour = {
      fails: undefined as (() => Error | Promise<Error>) | undefined,
      refuses: [] as number[],
    }
    const writeOne = async ({ readings }: WriteEntry): Promise<WriteOutcome> => {
      const refused = readings.flatMap(({ fields }, at) =>
        behaviour.refuses.includes(fields.value as number) ? [at] : [],
      )
      written.push(
        ...readings.filter((_, at) => !refused.includes(at)).map(({ fields }) => fields.value as number),
      )
      return { refused }
    }
    const { intake, spool } = spooling(embedded, {
      store: {
        async write(batch) {
          if (behaviour.fails) return allUnavailable(batch, await behaviour.fails())
          return Promise.all(batch.map(writeOne))
        },
      },
      keepDeadLetter: async (entry) => {
        deadLetters.push(...entry.readings.map(({ fields }) => fields.value))
      },
      ...options,
    })
    const end = async () => {
      await intake.close()
      await embedded.close()
    }
    endings.push(async () => {
      await end()
      await folder?.remove()
    })
    const take = (values: readonly number[], keys?: readonly string[], deviceId = 1) =>
      intake.deliver({
        deviceId,
        deviceType: 'sensor',
        location: null,
        receivedAt: Date.now(),
        readings: values.map((value) => readingAt(value, value)),
        keys,
        rejected: 0,
      })
    return { intake, ledger, spool, written, deadLetters, behaviour, take, path, end }
  }

  it('answers queued while the store is unavailable, and writes in order when it is back', async () => {
    const { ledger, intake, written, behaviour, take } = await make()
    behaviour.fails = () => unavailable()
    for (let n = 1; n <= 20; n += 1) expect(await take([n])).toMatchObject({ stored: 0, queued: 1 })
    expect(await ledger.account(1)).toMatchObject({ received: 20, stored: 0, spooled: 20 })
    expect(await intake.spooled.spoolState()).toMatchObject({ depth: 20 })
    behaviour.fails = undefined
    await eventually(async () =>
      expect(await intake.spooled.spoolState()).toMatchObject({ depth: 0, bytes: 0 }),
    )
    expect(written).toEqual(Array.from({ length: 20 }, (_, n) => n + 1))
    expect(await ledger.account(1)).toMatchObject({ received: 20, stored: 20, spooled: 0 })
    await eventually(async () => expect(await take([21])).toMatchObject({ stored: 1, queued: 0 }))
  })

  it('answers within its time while the store hangs', async () => {
    const { behaviour, take, written } = await make({ patienceMs: 100 })
    let release = () => {}
    const hanging = new Promise<void>((resolve) => {
      release = resolve
    })
    behaviour.fails = async () => {
      await hanging
      return unavailable()
    }
    expect(await take([1])).toMatchObject({ queued: 1 })
    behaviour.fails = undefined
    release()
    await eventually(() => expect(written).toEqual([1]))
  })

  it('keeps waiting messages over a restart', async () => {
    const first = await make()
    first.behaviour.fails = () => unavailable()
    await first.take([1, 2], ['a', 'b'])
    await first.end()
    const second = await make({ path: first.path })
    await eventually(() => expect(second.written).toEqual([1, 2]))
    expect((await second.take([3], ['a'])).duplicates).toBe(1)
    expect(await second.ledger.account(1)).toEqual({
      received: 3,
      stored: 2,
      spooled: 0,
      rejected: 0,
      duplicates: 1,
      warned: 0,
    })
  })

  it('makes a dead letter of the one bad reading of a waiting message', async () => {
    const { ledger, intake, written, deadLetters, behaviour, take } = await make()
    behaviour.refuses = [3]
    await take([1, 2, 3, 4])
    await eventually(async () => expect(await intake.spooled.spoolState()).toMatchObject({ depth: 0 }))
    expect(written).toEqual([1, 2, 4])
    expect(deadLetters).toEqual([3])
    expect(await ledger.account(1)).toMatchObject({ received: 4, stored: 3, rejected: 1, spooled: 0 })
  })

  it('keeps and counts a refused reading once where two processes empty the same spool', async () => {
    let goOn = () => {}
    const both = new Promise<void>((resolve) => {
      goOn = resolve
    })
    let refusals = 0
    const store = {
      async write(batch: readonly WriteEntry[]) {
        const outcomes = batch.map(({ readings }) => ({
          refused: readings.flatMap(({ fields }, at) => (fields.value === 3 ? [at] : [])),
        }))
        if (outcomes.every(({ refused }) => refused.length === 0)) return outcomes
        refusals += 1
        if (refusals === 2) goOn()
        await Promise.race([both, sleep(3000)])
        return outcomes
      },
    }
    const folder = await temporaryFolder()
    const url = `file:${join(folder.path, 'registry.db')}`
    const registry = await openRegistry({ url })
    await registry.migrate()
    const letters = createDeadLetters({ db: registry.db })
    const keepDeadLetter: KeepDeadLetter = ({ deviceId, receivedAt }, reason, onceKey) =>
      letters.keep({
        deviceId,
        topic: 't',
        payload: Buffer.from('{}'),
        reason,
        receivedAt,
        messageId: onceKey ?? '',
        once: true,
      })
    const first = await make()
    first.behaviour.fails = () => unavailable()
    await first.take(Array.from({ length: 10 }, (_, n) => n))
    await first.end()
    const [one, other] = await Promise.all([
      make({ path: first.path, store, keepDeadLetter }),
      make({ path: first.path, store, keepDeadLetter }),
    ])
    await eventually(async () => expect(await one.intake.spooled.spoolState()).toMatchObject({ depth: 0 }))
    await Promise.all([one.end(), other.end()])
    expect(refusals).toBe(2)
    const { ledger, close } = await open(first.path, 'ledger.db')
    expect(await ledger.account(1)).toMatchObject({ received: 10, stored: 9, rejected: 1, spooled: 0 })
    expect((await letters.list({ limit: 10 })).total).toBe(1)
    await close()
    registry.close()
    await folder.remove()
  })

  it('takes nothing more when it is full, and again when there is room', async () => {
    const { ledger, intake, behaviour, take } = await make({ maxBytes: 400 })
    behaviour.fails = () => unavailable()
    expect(await intake.spooled.acceptsDuringOutage()).toBe(true)
    let refused: unknown
    for (let n = 0; n < 50 && refused === undefined; n += 1) {
      await take([n]).catch((error: unknown) => {
        refused = error
      })
      await sleep(30)
    }
    expect(refused).toMatchObject({ code: 'UNAVAILABLE', retryAfterS: 30 })
    expect(await intake.spooled.acceptsDuringOutage()).toBe(false)
    const account = await ledger.account(1)
    expect(balance(account)).toBe(0)
    expect(account.spooled).toBe(account.received)
    behaviour.fails = undefined
    await eventually(async () => expect(await take([100])).toMatchObject({ duplicates: 0 }))
  })

  it('takes nothing more when the oldest has waited too long', async () => {
    let ahead = 0
    const { behaviour, take } = await make({ maxAgeMs: 60_000, now: () => Date.now() + ahead })
    behaviour.fails = () => unavailable()
    await take([1])
    ahead = 61_000
    await eventually(() => expect(take([2])).rejects.toMatchObject({ code: 'UNAVAILABLE' }))
  })

  it('goes by how long a message has been in it, not by how long ago it arrived', async () => {
    const { intake, behaviour, take } = await make({ maxAgeMs: 60_000 })
    behaviour.fails = () => unavailable()
    const replayed = { deviceId: 1, deviceType: 'sensor', location: null, rejected: 0 }
    await intake.deliver({ ...replayed, receivedAt: Date.now() - 1e9, readings: [readingAt(1, 1)] })
    await sleep(300)
    expect(await take([2])).toMatchObject({ queued: 1 })
    expect(Date.now() - ((await intake.spooled.spoolState())?.oldestAt ?? 0)).toBeLessThan(30_000)
  })

  it('is measured in bytes', async () => {
    const { intake, behaviour } = await make()
    behaviour.fails = () => unavailable()
    const message = { deviceId: 1, deviceType: 'sensor', location: null, receivedAt: Date.now(), rejected: 0 }
    const readings = [{ ...readingAt(1, 1), fields: { note: '😀'.repeat(500) } }]
    for (const keys of [undefined, ['a']]) {
      const before = (await intake.spooled.spoolState())?.bytes ?? 0
      await intake.deliver({ ...message, readings, keys })
      expect(((await intake.spooled.spoolState())?.bytes ?? 0) - before).toBeGreaterThan(2000)
    }
  })

  it('writes the messages of a device in their order when the first one fails', async () => {
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
        async write(batch) {
          return batch.map(({ deviceId, readings }) => {
            if (deviceId === 1 && failures > 0) {
              failures -= 1
              return { unavailable: unavailable() }
            }
            written.push(readings[0]?.fields.value)
            return { refused: [] }
          })
        },
      },
    })
    await eventually(async () => expect(await second.intake.spooled.spoolState()).toMatchObject({ depth: 0 }))
    expect(written.filter((value) => value !== 3).at(-1)).toBe(2)
    expect(written.filter((value) => value === 1)).toHaveLength(1)
    expect(written.filter((value) => value === 3)).toHaveLength(1)
    expect(await second.ledger.account()).toMatchObject({ received: 3, stored: 3, spooled: 0 })
  })

  it('leaves new readings as much time as the backlog takes, however much comes in', async () => {
    const first = await make()
    first.behaviour.fails = () => unavailable()
    // More than is written while new readings are held up.
    const large = Array.from({ length: 1000 }, (_, n) => n)
    for (let n = 0; n < 40; n += 1) await first.take(large, undefined, 7)
    await first.end()
    let rounds = 0
    const { take } = await make({
      path: first.path,
      limits: { maxMessages: 1, maxBytes: 1_000_000 },
      store: {
        async write(batch) {
          rounds += 1
          await sleep(200)
          return batch.map(() => ({ refused: [] }))
        },
      },
    })
    const until = performance.now() + 2000
    for (let n = 2; performance.now() < until; n += 1) {
      expect(await take([n])).toMatchObject({ queued: 1 })
      await sleep(5)
    }
    // Without a pause there would be one each 200 ms.
    expect(rounds).toBeGreaterThan(0)
    expect(rounds).toBeLessThanOrEqual(7)
  })

  it('finds its end under steady traffic: new readings go straight into the store again', async () => {
    const { behaviour, take, ledger } = await make()
    behaviour.fails = () => unavailable()
    await take([1])
    behaviour.fails = undefined
    let n = 1
    const answers: number[] = []
    while (answers.slice(-20).some((queued) => queued > 0) || answers.length < 20) {
      n += 1
      answers.push((await take([n])).queued)
    }
    expect(await ledger.account(1)).toMatchObject({ received: n, stored: n, spooled: 0 })
  })

  it('writes nothing of a range any more once it is dropped', async () => {
    const first = await make()
    first.behaviour.fails = () => unavailable()
    await first.take([1])
    await first.end()
    const written: unknown[] = []
    let looked = () => {}
    const looking = new Promise<void>((resolve) => {
      looked = resolve
    })
    const { intake } = await make({
      path: first.path,
      around: (spool) => ({
        put: (batch) => spool.put(batch),
        accepts: () => spool.accepts(),
        state: () => spool.state(),
        dropRange: (deviceId, range) => spool.dropRange(deviceId, range),
        settle: (ids, rejected) => spool.settle(ids, rejected),
        async oldest(limits) {
          const batch = await spool.oldest(limits)
          looked()
          await sleep(150)
          return batch
        },
      }),
      store: {
        async write(batch) {
          written.push(batch)
          return batch.map(() => ({ refused: [] }))
        },
      },
    })
    await looking
    await intake.spooled.dropSpooled(1, { from: 0n, to: 2n ** 62n })
    const before = written.length
    await sleep(400)
    expect(written).toHaveLength(before)
  })

  it('ends while the store hangs, and keeps what was on its way', async () => {
    const { intake, spool, take } = await make({
      patienceMs: 50,
      store: { write: () => new Promise(() => {}) },
    })
    expect(await take([1])).toMatchObject({ queued: 1 })
    await intake.close()
    expect(await spool.state()).toMatchObject({ depth: 1 })
  })

  it('drops the readings of a range and counts them as stored', async () => {
    const { ledger, intake, written, behaviour, take } = await make()
    behaviour.fails = () => unavailable()
    await take([1, 2, 3])
    await take([2], undefined, 7)
    await take([2])
    await intake.spooled.dropSpooled(1, { from: readingAt(2, 0).time, to: readingAt(3, 0).time })
    expect(await intake.spooled.spoolState()).toMatchObject({ depth: 3 })
    expect(await ledger.account(1)).toMatchObject({ received: 4, stored: 2, spooled: 2 })
    behaviour.fails = undefined
    await eventually(() => expect(written).toEqual([1, 3, 2]))
    await eventually(async () =>
      expect(await intake.spooled.spoolState()).toMatchObject({ depth: 0, bytes: 0 }),
    )
    expect(balance(await ledger.account())).toBe(0)
  })

  it('drops also what a write that is under way puts there when it fails', async () => {
    const { intake, written, behaviour, take } = await make()
    let [begin, fail] = [() => {}, () => {}]
    const begun = new Promise<void>((resolve) => {
      begin = resolve
    })
    const failed = new Promise<Error>((resolve) => {
      fail = () => resolve(unavailable())
    })
    behaviour.fails = () => {
      begin()
      return failed
    }
    const taken = take([1])
    await begun
    const dropped = intake.spooled.dropSpooled(1, { from: 0n, to: 2n ** 62n })
    fail()
    await Promise.all([taken, dropped])
    behaviour.fails = undefined
    await eventually(async () => expect(await intake.spooled.spoolState()).toMatchObject({ depth: 0 }))
    expect(written).toEqual([])
  })

  it('takes and writes at the same time, exactly once', async () => {
    const { ledger, intake, written, behaviour, take } = await make()
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
    await eventually(async () => expect(await intake.spooled.spoolState()).toMatchObject({ depth: 0 }))
    expect([...new Set(written)].sort((one, other) => one - other)).toEqual(all)
    expect(await ledger.account(1)).toMatchObject({ received: 400, stored: 400, spooled: 0, duplicates: 0 })
  })
})
