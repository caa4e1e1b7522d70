/** The contract of the intake, whatever is behind it: it stores, counts and recognises readings, and reports their outcome. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Account } from '../../lib/telemetry/account.ts'
import type { Ledger } from '../../lib/telemetry/embedded/ledger.ts'
import type { Intake } from '../../lib/telemetry/intake/intake.ts'
import type { Reading } from '../../lib/telemetry/reading.ts'
import { keyOfMessageId } from '../../lib/telemetry/reading-keys.ts'
import type { TelemetryStore } from '../../lib/telemetry/store.ts'

export interface OpenedIntake {
  readonly intake: Intake
  readonly ledger: Ledger
  /** The store that gets the readings. */
  readonly store: TelemetryStore
  end(): Promise<void>
}

export const balance = ({ received, stored, spooled, rejected, duplicates }: Account) =>
  received - stored - spooled - rejected - duplicates

const second = 1_000_000_000n
const start = 1_760_000_000n * second

export const readingAt = (seconds: number, value: number): Reading => ({
  time: start + BigInt(seconds) * second,
  fields: { value },
  metadata: undefined,
})

export function intakeContract(name: string, open: () => Promise<OpenedIntake>): void {
  describe(`intake contract: ${name}`, () => {
    let opened: OpenedIntake
    let deviceId = 100
    beforeAll(async () => {
      opened = await open()
    })
    afterAll(() => opened?.end())

    const delivery = (
      readings: readonly Reading[],
      keys?: readonly (string | undefined)[],
      rejected = 0,
    ) => ({
      deviceId,
      deviceType: 'sensor',
      location: 'Lab',
      receivedAt: 1_760_000_000_000,
      readings,
      keys,
      rejected,
    })
    const found = async () => {
      const all = { from: 0n, to: 2n ** 62n, fields: undefined, limit: 10_000, order: 'asc' } as const
      const readings = await opened.store.history({ ...all, deviceId })
      return readings.map(({ fields }) => fields.value)
    }
    /** A device of its own for each test. */
    const fresh = () => {
      deviceId += 1
    }
    const account = () => opened.ledger.account(deviceId)
    const nothing = { received: 0, stored: 0, spooled: 0, rejected: 0, duplicates: 0, warned: 0 }

    it('begins with nothing', async () => {
      fresh()
      expect(await account()).toEqual(nothing)
    })

    it('stores and counts the readings of a message, the refused ones too', async () => {
      fresh()
      const outcome = await opened.intake.deliver(delivery([readingAt(1, 1), readingAt(2, 2)], undefined, 3))
      expect(outcome).toEqual({ stored: 2, queued: 0, duplicates: 0 })
      expect(await account()).toEqual({ ...nothing, received: 5, stored: 2, rejected: 3 })
      expect(await found()).toEqual([1, 2])
    })

    it('counts a message of which nothing is good', async () => {
      fresh()
      expect(await opened.intake.deliver(delivery([], undefined, 2))).toEqual({
        stored: 0,
        queued: 0,
        duplicates: 0,
      })
      expect(await account()).toEqual({ ...nothing, received: 2, rejected: 2 })
      expect(await found()).toEqual([])
    })

    it('takes a reading once whose key is known, whatever it holds then', async () => {
      fresh()
      await opened.intake.deliver(delivery([readingAt(1, 1)], ['a']))
      const again = await opened.intake.deliver(delivery([readingAt(9, 9)], ['a']))
      expect(again).toEqual({ stored: 0, queued: 0, duplicates: 1 })
      expect(await found()).toEqual([1])
      expect(await account()).toEqual({ ...nothing, received: 2, stored: 1, duplicates: 1 })
    })

    it.each([['a'], [undefined, 'a'], ['a', undefined], [undefined, 'a', undefined], ['a', undefined, 'b']])(
      'keeps the last value for one time, whichever messages have a key: %s %s %s',
      async (...keys) => {
        fresh()
        const send = (key: string | undefined, n: number) =>
          opened.intake.deliver(delivery([readingAt(1, n)], key === undefined ? undefined : [key]))
        await Promise.all(keys.map(send))
        expect(await found()).toEqual([keys.length - 1])
        expect(await account()).toEqual({ ...nothing, received: keys.length, stored: keys.length })
        for (const [n, key] of keys.entries()) await send(key === undefined ? key : `${key}${n}`, 10 + n)
        expect(await found()).toEqual([9 + keys.length])
      },
    )

    it('tells keys apart reading by reading, also within one message', async () => {
      fresh()
      await opened.intake.deliver(delivery([readingAt(1, 1), readingAt(2, 2)], ['a', undefined]))
      const mixed = await opened.intake.deliver(
        delivery(
          [readingAt(3, 3), readingAt(4, 4), readingAt(5, 5), readingAt(6, 6)],
          ['b', 'a', undefined, 'b'],
        ),
      )
      expect(mixed).toEqual({ stored: 2, queued: 0, duplicates: 2 })
      expect(await found()).toEqual([1, 2, 3, 5])
      expect(balance(await account())).toBe(0)
    })

    it('counts readings with warnings', async () => {
      fresh()
      await opened.intake.deliver({ ...delivery([readingAt(1, 1), readingAt(2, 2)]), warned: 1 })
      await opened.intake.deliver({ ...delivery([readingAt(3, 3)], ['a']), warned: 1 })
      expect(await account()).toEqual({ ...nothing, received: 3, stored: 3, warned: 2 })
    })

    it('stores another reading under a message id that was used, and names it', async () => {
      fresh()
      const send = (second: number, value: number) =>
        opened.intake.deliver(
          delivery([readingAt(second, value)], [keyOfMessageId('5', readingAt(0, value), false)]),
        )
      const nothingElse = { queued: 0, duplicates: 0 }
      expect(await send(1, 1)).toEqual({ stored: 1, ...nothingElse })
      expect(await send(2, 2)).toEqual({ stored: 1, ...nothingElse, reused: [0] })
      expect(await send(3, 1)).toEqual({ stored: 0, queued: 0, duplicates: 1 })
      expect(await send(4, 2)).toEqual({ stored: 0, queued: 0, duplicates: 1 })
      expect(await found()).toEqual([1, 2])
      expect(await account()).toEqual({ ...nothing, received: 4, stored: 2, duplicates: 2 })
    })

    it('names such an id once although its reading comes several times at once', async () => {
      fresh()
      const send = (value: number) =>
        opened.intake.deliver(
          delivery([readingAt(value, value)], [keyOfMessageId('5', readingAt(0, value), false)]),
        )
      await send(1)
      const outcomes = await Promise.all([send(2), send(2), send(2)])
      expect(outcomes.filter(({ reused }) => reused !== undefined)).toHaveLength(1)
      expect(await account()).toEqual({ ...nothing, received: 4, stored: 2, duplicates: 2 })
    })

    it('refuses another body under the key of a request: nothing is stored, all readings are rejected', async () => {
      fresh()
      const send = (digest: string, ...values: readonly number[]) =>
        opened.intake.deliver({
          ...delivery(
            values.map((value) => readingAt(value, value)),
            values.map((_, at) => `h:${at}:key,1`),
            1,
          ),
          request: { key: 'key,1', digest },
        })
      const [first, other] = await Promise.all([send('one', 1), send('two', 2, 3)])
      expect(first).toEqual({ stored: 1, queued: 0, duplicates: 0 })
      expect(other).toEqual({ stored: 0, queued: 0, duplicates: 0, conflict: true })
      expect(await send('one', 1)).toMatchObject({ duplicates: 1 })
      expect(await found()).toEqual([1])
      expect(await account()).toEqual({ ...nothing, received: 7, stored: 1, rejected: 5, duplicates: 1 })
    })

    it('knows keys of one device only', async () => {
      fresh()
      await opened.intake.deliver(delivery([readingAt(1, 1)], ['a']))
      fresh()
      expect((await opened.intake.deliver(delivery([readingAt(1, 1)], ['a']))).stored).toBe(1)
    })

    it('takes one of many that come at once with the same key', async () => {
      fresh()
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, n) => opened.intake.deliver(delivery([readingAt(n, n)], ['same']))),
      )
      expect(outcomes.reduce((sum, { stored }) => sum + stored, 0)).toBe(1)
      expect(outcomes.reduce((sum, { duplicates }) => sum + duplicates, 0)).toBe(19)
      expect(await found()).toHaveLength(1)
      expect(await account()).toEqual({ ...nothing, received: 20, stored: 1, duplicates: 19 })
    })

    it('stores and counts all of many messages that come at once', async () => {
      fresh()
      const outcomes = await Promise.all(
        Array.from({ length: 1000 }, (_, n) => opened.intake.deliver(delivery([readingAt(n, n)]))),
      )
      expect(outcomes).toEqual(Array(1000).fill({ stored: 1, queued: 0, duplicates: 0 }))
      expect(await found()).toEqual(Array.from({ length: 1000 }, (_, n) => n))
      expect(await account()).toEqual({ ...nothing, received: 1000, stored: 1000 })
    })

    it('takes keys with quotes, commas and brackets as they are', async () => {
      fresh()
      const odd = '"],[1,"x\'; --\u{1f600}'
      expect((await opened.intake.deliver(delivery([readingAt(1, 1)], [odd]))).stored).toBe(1)
      expect((await opened.intake.deliver(delivery([readingAt(1, 1)], [odd]))).duplicates).toBe(1)
    })

    it('moves between the parts of an account, and the sum of all is that of the devices', async () => {
      fresh()
      await opened.intake.deliver(delivery([readingAt(1, 1)], undefined, 1))
      await opened.ledger.count({ deviceId, received: -1, rejected: -1 })
      expect(await account()).toEqual({ ...nothing, received: 1, stored: 1 })
      const all = await opened.ledger.account()
      expect(balance(all)).toBe(0)
      expect(all.stored).toBeGreaterThan(1)
    })

    it('keeps large times and every type exactly', async () => {
      fresh()
      const time = 1_760_000_000_123_456_789n
      const reading = { time, fields: { n: 0.1, s: 'ä"\n', b: false }, metadata: { place: "it's" } }
      await opened.intake.deliver({ ...delivery([reading]), keys: ['k'] })
      const all = { from: 0n, to: 2n ** 62n, fields: undefined, limit: 10, order: 'asc' } as const
      expect(await opened.store.history({ ...all, deviceId })).toEqual([reading])
    })

    it('remembers the newest arrival', async () => {
      fresh()
      const receivedAt = 1_770_000_000_000 + deviceId
      await opened.intake.deliver({ ...delivery([readingAt(1, 1)]), receivedAt })
      expect(await opened.ledger.lastArrival()).toBe(receivedAt)
    })
  })
}
