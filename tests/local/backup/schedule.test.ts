import { readdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createLog } from '../../../lib/log.ts'
import { BackupSchedule } from '../../../local/backup/schedule.ts'
import { runIotflow } from '../../support/iotflow.ts'
import { startStandaloneServer } from '../../support/standalone.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { eventually } from '../../support/waiting.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  folder = await temporaryFolder()
})
afterEach(() => folder.remove())

it('makes a backup when one is due, and keeps the newest ones and every other file', async () => {
  await writeFile(join(folder.path, 'by-hand.backup'), '')
  const clock = { now: Date.parse('2026-03-01T00:00:00Z') }
  const hourMs = 3_600_000
  const schedule = new BackupSchedule({
    settings: { folder: folder.path, everyMs: 6 * hourMs, keep: 3 },
    log: createLog('silent'),
    run: (file) => writeFile(file, basename(file)),
    now: () => clock.now,
  })
  for (let hour = 0; hour < 30; hour++) {
    await schedule.look()
    clock.now += hourMs
  }
  schedule.close()
  expect((await readdir(folder.path)).sort()).toEqual([
    'by-hand.backup',
    'iotflow-20260301T120000Z.backup',
    'iotflow-20260301T180000Z.backup',
    'iotflow-20260302T000000Z.backup',
  ])
})

it('goes on after a failure', async () => {
  let tries = 0
  const schedule = new BackupSchedule({
    settings: { folder: folder.path, everyMs: 1, keep: 1 },
    log: createLog('silent'),
    run: async (file) => {
      tries += 1
      if (tries === 1) throw new Error('no disk')
      await writeFile(file, '')
    },
  })
  await schedule.look()
  await schedule.look()
  schedule.close()
  expect(await readdir(folder.path)).toHaveLength(1)
})

it('is run by the server, and its backups can be restored', async () => {
  const server = await startStandaloneServer({ settings: { BACKUP_DIR: folder.path } })
  try {
    const name = await eventually(async () => {
      const [first] = (await readdir(folder.path)).filter((file) => /^iotflow-.*\.backup$/.test(file))
      if (first === undefined) throw new Error('no backup yet')
      return first
    })
    const restored = await runIotflow(['restore', join(folder.path, name)], {
      dataDir: join(folder.path, 'data'),
    })
    expect([restored.code, restored.err]).toEqual([0, ''])
  } finally {
    await server.stop()
  }
})
