/** The embedded store, ledger and spool on a libSQL server instead of a file. */
import { expect, it, vi } from 'vitest'
import { openServer } from '../../../../lib/libsql/server.ts'
import { createLog } from '../../../../lib/log.ts'
import type { Delivery } from '../../../../lib/telemetry/delivery.ts'
import { connectionOf } from '../../../../lib/telemetry/embedded/connection.ts'
import { advanceDeletion } from '../../../../lib/telemetry/embedded/deletion-table.ts'
import { openEmbedded } from '../../../../lib/telemetry/embedded/open.ts'
import { DatabaseSession } from '../../../../lib/telemetry/embedded/session.ts'
import { dropRange } from '../../../../lib/telemetry/embedded/spool-table.ts'
import { prepareServer } from '../../../../lib/telemetry/embedded/writer.ts'
import { Intake } from '../../../../lib/telemetry/intake/intake.ts'
import { deletionsContract } from '../../../support/deletions-contract.ts'
import { intakeContract, readingAt } from '../../../support/intake-contract.ts'
import { ledgerContract } from '../../../support/ledger-contract.ts'
import { pruningContract } from '../../../support/pruning-contract.ts'
import { spoolContract } from '../../../support/spool-contract.ts'
import { describeWithSqld, startSqld } from '../../../support/sqld.ts'
import { telemetryStoreContract } from '../../../support/telemetry-store-contract.ts'

const log = createLog('silent')

const open = async (options: { retentionMs?: number; removalSlice?: number; now?: () => number } = {}) => {
  const { url, stop } = await startSqld()
  await prepareServer(url, undefined)
  const embedded = await openEmbedded({ at: { url, authToken: undefined }, log, retentionMs: 0, ...options })
  const end = async () => {
    await embedded.close()
    await stop()
  }
  return { ...embedded, url, end }
}

const messageOf = (deviceId: number): Delivery => ({
  deviceId,
  deviceType: 'sensor',
  location: null,
  receivedAt: 1_760_000_000_000,
  readings: [readingAt(1, deviceId)],
  rejected: 0,
})

describeWithSqld('on a libSQL server', () => {
  telemetryStoreContract('libsql server', () => open())
  ledgerContract('libsql server', () => open())
  pruningContract('libsql server', open)
  deletionsContract('libsql server', open)
  spoolContract('libsql server', async () => {
    const { spool: openSpool, end } = await open()
    const spool = openSpool({ maxBytes: 1e9, maxAgeMs: 1e9 })
    const take = async () => {
      const waiting = await spool.oldest({ maxMessages: 1000, maxBytes: 1e9 })
      await spool.settle(waiting.map(({ id }) => id))
      return waiting.map(({ entry }) => entry)
    }
    return { spool, take, end }
  })
  intakeContract('into the embedded store on a libsql server', async () => {
    const { writer, ledger, store, end } = await open()
    return { intake: new Intake({ writer, ledger, retentionMs: 0, log }), ledger, store, end }
  })

  it('drops and counts no message of the spool that another process settles meanwhile', async () => {
    const { spool: openSpool, ledger, url, end } = await open()
    const client = openServer({ url, intMode: 'bigint' })
    try {
      const spool = openSpool({ maxBytes: 1e9, maxAgeMs: 1e9 })
      await spool.put([{ ...messageOf(1), readings: [readingAt(1, 1), readingAt(2, 2)] }, messageOf(1)])
      const connection = connectionOf(client)
      const session = new DatabaseSession({
        ...connection,
        execute: async (statement) => {
          const rows = await connection.execute(statement)
          // The first message is written by another process, before this one writes.
          if (rows.length > 0) await spool.settle([Number(rows[0]?.[0])])
          return rows
        },
      })
      await dropRange(session, 1, readingAt(1, 0).time, readingAt(2, 0).time)
      expect(await ledger.account(1)).toMatchObject({ received: 3, stored: 3, spooled: 0 })
      expect(await spool.state()).toMatchObject({ depth: 0, bytes: 0 })
    } finally {
      client.close()
      await end()
    }
  })

  it('deletes nothing for a deletion that another process finishes meanwhile', async () => {
    const { deletions, store, writer, url, end } = await open()
    const client = openServer({ url, intMode: 'bigint' })
    try {
      await writer.deliver([messageOf(1)])
      const range = { from: 0n, to: 2n ** 62n }
      const id = await deletions.create(1, range)
      const connection = connectionOf(client)
      const session = new DatabaseSession({
        ...connection,
        execute: async (statement) => {
          const rows = await connection.execute(statement)
          expect(await deletions.next(id)).toMatchObject({ deleted: 1, finishedAt: expect.any(Number) })
          await writer.deliver([messageOf(1)])
          return rows
        },
      })
      const after = await advanceDeletion(session, { id, at: Date.now(), most: 5000 })
      expect(after).toMatchObject({ deleted: 1, finishedAt: expect.any(Number) })
      expect(await store.count(1)).toBe(1)
    } finally {
      client.close()
      await end()
    }
  })

  it('does not try each message of a batch alone while the server takes none', async () => {
    const { writer, ledger, end } = await open()
    try {
      const batch = [1, 2, 3].map(messageOf)
      await writer.deliver(batch)
      const fetches = vi
        .spyOn(globalThis, 'fetch')
        .mockImplementation(async () => new Response('', { status: 503 }))
      const outcomes = await writer.deliver(batch)
      expect(outcomes).toMatchObject(batch.map(() => ({ code: 'UNAVAILABLE' })))
      expect(fetches).toHaveBeenCalledTimes(1)
      vi.restoreAllMocks()
      expect(await ledger.account()).toMatchObject({ received: 3, stored: 3 })
    } finally {
      vi.restoreAllMocks()
      await end()
    }
  })
})
