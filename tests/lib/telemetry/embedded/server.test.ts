/** The embedded store, ledger and spool on a libSQL server instead of a file. */
import { expect, it, vi } from 'vitest'
import { createLog } from '../../../../lib/log.ts'
import { openEmbedded } from '../../../../lib/telemetry/embedded/open.ts'
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
  return { ...embedded, end }
}

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

  it('does not try each message of a batch alone while the server takes none', async () => {
    const { writer, ledger, end } = await open()
    try {
      const batch = [1, 2, 3].map((deviceId) => ({
        deviceId,
        deviceType: 'sensor',
        location: null,
        receivedAt: 1_760_000_000_000,
        readings: [readingAt(1, deviceId)],
        rejected: 0,
      }))
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
