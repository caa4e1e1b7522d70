import { appendFile, cp, mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'libsql'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../../lib/config.ts'
import { createLog } from '../../../lib/log.ts'
import { makeBackup } from '../../../local/backup/backup.ts'
import { restoredFile } from '../../../local/backup/exchange.ts'
import { restoreBackup } from '../../../local/backup/restore.ts'
import { lockDataDir } from '../../../local/data-dir.ts'
import { markForStart } from '../../../local/database-marks.ts'
import { prepareDatabases } from '../../../local/databases.ts'
import { startIotflow } from '../../support/iotflow.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  folder = await temporaryFolder()
})
afterEach(() => folder.remove())

const inFolder = (...names: string[]) => join(folder.path, ...names)
const configOf = (name: string) => loadConfig({ DATA_DIR: inFolder(name) })

/** Makes a data directory whose databases both hold a word. @param megabytes of further content in each. */
const makeData = async (name: string, word: string, megabytes = 0) => {
  const unlock = await lockDataDir(inFolder(name))
  await markForStart(configOf(name))
  await prepareDatabases(configOf(name), createLog('silent'))
  for (const file of ['registry.db', 'telemetry.db']) {
    const db = new Database(inFolder(name, file))
    db.exec('PRAGMA journal_mode = WAL; CREATE TABLE word (word); CREATE TABLE filling (x)')
    db.prepare('INSERT INTO word VALUES (?)').run([word])
    for (let n = 0; n < megabytes; n++) db.exec('INSERT INTO filling VALUES (randomblob(1000000))')
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    db.close()
  }
  unlock()
}

/** The words of both databases, after what a start does first. */
const wordsOf = async (name: string) => {
  const unlock = await lockDataDir(inFolder(name))
  await markForStart(configOf(name))
  const words = ['registry.db', 'telemetry.db'].map((file) => {
    const db = new Database(inFolder(name, file))
    const [word] = db.prepare('SELECT word FROM word').raw(true).get() as unknown as [string]
    db.close()
    return word
  })
  unlock()
  return words
}
const restore = (archive: string, name: string) =>
  restoreBackup(configOf(name), inFolder(archive), { confirmReplacing: async () => {} })

describe('a backup that is restored', () => {
  it('holds both databases, and what is only in their logs', async () => {
    await makeData('one', 'first')
    const open = new Database(inFolder('one', 'telemetry.db'))
    open.exec("INSERT INTO word VALUES ('in the log')")
    await makeBackup(configOf('one'), inFolder('a.backup'), { replace: false })
    open.close()
    await mkdir(inFolder('two'))
    await restore('a.backup', 'two')
    expect(await wordsOf('two')).toEqual(['first', 'first'])
    const db = new Database(inFolder('two', 'telemetry.db'))
    expect(db.prepare('SELECT count(*) AS n FROM word').get()).toMatchObject({ n: 2 })
    db.close()
    expect((await readdir(folder.path)).sort()).toEqual(['a.backup', 'one', 'two'])
  })

  it('replaces databases, with their logs', async () => {
    await makeData('one', 'new')
    await makeData('two', 'old')
    const open = new Database(inFolder('two', 'registry.db'))
    open.exec("UPDATE word SET word = 'newest of the old'")
    await makeBackup(configOf('one'), inFolder('a.backup'), { replace: false })
    await cp(inFolder('two'), inFolder('three'), { recursive: true })
    open.close()
    await restore('a.backup', 'three')
    expect(await wordsOf('three')).toEqual(['new', 'new'])
  })

  it.each([
    ['the embedded stores', {}, 1],
    [
      'InfluxDB, which may know devices that were registered after the backup',
      { INFLUXDB_URL: 'http://127.0.0.1:1', INFLUXDB_TOKEN: 'token' },
      10_001,
    ],
  ])('gives the right next id with %s', async (_what, settings, next) => {
    await makeData('one', 'first')
    const register = (name: string) => {
      const db = new Database(inFolder(name, 'registry.db'))
      db.exec("INSERT INTO devices (name, device_type, created_at, updated_at) VALUES (random(), 'x', 0, 0)")
      const { id } = db.prepare('SELECT max(id) AS id FROM devices').get() as { id: number }
      db.close()
      return id
    }
    const before = register('one')
    await makeBackup(configOf('one'), inFolder('a.backup'), { replace: false })
    await mkdir(inFolder('two'))
    const config = loadConfig({ DATA_DIR: inFolder('two'), ...settings })
    await restoreBackup(config, inFolder('a.backup'), { confirmReplacing: async () => {} })
    expect(register('two')).toBe(before + next)
  })

  it('is not written over another file, nor where nothing is to back up', async () => {
    await makeData('one', 'first')
    await writeFile(inFolder('a.backup'), 'something')
    await expect(makeBackup(configOf('one'), inFolder('a.backup'), { replace: false })).rejects.toThrow(
      'exists already',
    )
    await makeBackup(configOf('one'), inFolder('a.backup'), { replace: true })
    await restore('a.backup', 'two').catch(() => undefined)
    await expect(makeBackup(configOf('none'), inFolder('b.backup'), { replace: false })).rejects.toThrow(
      'There is nothing to back up',
    )
    await expect(
      makeBackup(configOf('one'), inFolder('missing', 'b.backup'), { replace: false }),
    ).rejects.toThrow(/cannot be written \(ENOENT\)/)
  })
})

describe('a restore is refused, and changes nothing', () => {
  const rewriteManifest = async (change: (manifest: Record<string, unknown>) => void) => {
    const content = await readFile(inFolder('a.backup'))
    const [first = '', json = ''] = content.toString('latin1').split('\n', 2)
    const manifest = JSON.parse(json) as Record<string, unknown>
    change(manifest)
    const { createHash } = await import('node:crypto')
    const text = JSON.stringify(manifest)
    const head = `IoTFlow-backup 1 ${createHash('sha256').update(text).digest('hex')}\n${text}\n`
    await writeFile(
      inFolder('a.backup'),
      Buffer.concat([Buffer.from(head), content.subarray(first.length + json.length + 2)]),
    )
  }

  it.each<[string, () => Promise<unknown>, RegExp]>([
    [
      'a folder in its place',
      async () => {
        await rm(inFolder('a.backup'))
        await mkdir(inFolder('a.backup'))
      },
      /a\.backup cannot be read \(EISDIR\)\.$/,
    ],
    ['no backup', () => writeFile(inFolder('a.backup'), 'SQLite format 3'), /is no backup of IoTFlow/],
    [
      'a format of later versions',
      () => writeFile(inFolder('a.backup'), 'IoTFlow-backup 2 00\n{}\n'),
      /made by a newer version/,
    ],
    [
      'a newer version',
      () =>
        rewriteManifest((manifest) => {
          manifest.version = '99.0.0'
        }),
      /made by a newer version/,
    ],
    [
      'a newer schema',
      () =>
        rewriteManifest((manifest) => {
          manifest.schema = Date.now() * 2
        }),
      /made by a newer version/,
    ],
    ['its end missing', () => truncate(inFolder('a.backup'), 5000), /is no complete backup/],
    [
      'something behind its end',
      () => appendFile(inFolder('a.backup'), 'x'.repeat(100)),
      /is no complete backup/,
    ],
    [
      'another checksum',
      () =>
        rewriteManifest((manifest) => {
          const [file] = manifest.files as { sha256: string }[]
          if (file) file.sha256 = '0'.repeat(64)
        }),
      /checksum of the registry database is wrong/,
    ],
  ])('with %s', async (_what, spoil, message) => {
    await makeData('one', 'new', 1)
    await makeData('two', 'old')
    await makeBackup(configOf('one'), inFolder('a.backup'), { replace: false })
    await spoil()
    await expect(restore('a.backup', 'two')).rejects.toThrow(message)
    expect(await wordsOf('two')).toEqual(['old', 'old'])
    expect((await readdir(inFolder('two'))).filter((name) => name.includes('restore'))).toEqual([])
  })
})

it('a restore names the data directory that it cannot write to', async () => {
  await makeData('one', 'new')
  await makeBackup(configOf('one'), inFolder('a.backup'), { replace: false })
  const config = loadConfig({
    DATA_DIR: inFolder('two'),
    DATABASE_URL: `file:${inFolder('missing', 'registry.db')}`,
  })
  await expect(
    restoreBackup(config, inFolder('a.backup'), { confirmReplacing: async () => {} }),
  ).rejects.toThrow(`The backup ${inFolder('a.backup')} cannot be restored to ${inFolder('two')} (ENOENT).`)
})

describe('a restore that was interrupted', () => {
  it.each([0, 1, 2])(
    'after %i of the files were exchanged is finished by the next start',
    async (exchanged) => {
      await makeData('one', 'new')
      await makeData('two', 'old')
      const files = ['registry', 'telemetry'].map((name) => ({ name, path: inFolder('two', `${name}.db`) }))
      for (const { name, path } of files) await cp(inFolder('one', `${name}.db`), restoredFile(path))
      await writeFile(inFolder('two', 'restore.json'), JSON.stringify({ files }))
      for (const { path } of files.slice(0, exchanged)) {
        for (const suffix of ['-wal', '-shm']) await rm(`${path}${suffix}`, { force: true })
        await rename(restoredFile(path), path)
      }
      expect(await wordsOf('two')).toEqual(['new', 'new'])
      expect(await readdir(inFolder('two'))).not.toContain('restore.json')
      expect(await wordsOf('two')).toEqual(['new', 'new'])
    },
  )

  it('before its files were complete has changed nothing', async () => {
    await makeData('two', 'old')
    await writeFile(restoredFile(inFolder('two', 'registry.db')), 'half a file')
    expect(await wordsOf('two')).toEqual(['old', 'old'])
  })
})

describe('SIGKILL at any moment, 20 times', { timeout: 300_000 }, () => {
  /** Starts the command, and kills it at a moment of its life, from 0 to 1. @returns whether it was killed. */
  const killAt = async (args: readonly string[], name: string, share: number, lifeMs: number) => {
    const { child, ended } = startIotflow(args, { dataDir: inFolder(name) })
    const timer = setTimeout(() => child.kill('SIGKILL'), share * lifeMs)
    const { code } = await ended
    clearTimeout(timer)
    return code === null
  }
  const lifeOf = async (run: () => Promise<unknown>) => {
    const from = performance.now()
    await run()
    return performance.now() - from
  }

  it('leaves a whole backup or none', async () => {
    await makeData('one', 'whole', 5)
    await mkdir(inFolder('two'))
    const args = ['backup', inFolder('a.backup'), '--force']
    // The first run may build the program.
    await killAt(args, 'one', 10, 60_000)
    const life = await lifeOf(() => killAt(args, 'one', 10, 60_000))
    let [killed, complete] = [0, 0]
    for (let n = 0; n < 20; n++) {
      const target = inFolder(`${n}.backup`)
      if (await killAt(['backup', target], 'one', 0.35 + n / 18, life)) killed += 1
      const names = await readdir(folder.path)
      if (!names.includes(`${n}.backup`)) continue
      complete += 1
      await restore(`${n}.backup`, 'two')
      expect(await wordsOf('two')).toEqual(['whole', 'whole'])
    }
    process.stdout.write(`backup: ${killed} of 20 were killed, ${complete} files are there, all whole\n`)
    expect(killed).toBeGreaterThan(5)
    await makeBackup(configOf('one'), inFolder('0.backup'), { replace: true })
    expect((await readdir(folder.path)).filter((name) => name.startsWith('.0.backup'))).toEqual([])
  })

  it('leaves all of the old data or all of the new', async () => {
    await makeData('one', 'new', 5)
    await makeData('old', 'old')
    await makeBackup(configOf('one'), inFolder('a.backup'), { replace: false })
    const args = ['restore', inFolder('a.backup'), '--yes']
    let life = 0
    for (const name of ['first', 'second']) {
      await cp(inFolder('old'), inFolder(name), { recursive: true })
      life = await lifeOf(() => killAt(args, name, 10, 60_000))
    }
    const seen: Record<string, number> = {}
    for (let n = 0; n < 20; n++) {
      await cp(inFolder('old'), inFolder(`try ${n}`), { recursive: true })
      await killAt(args, `try ${n}`, 0.35 + n / 18, life)
      const words = (await wordsOf(`try ${n}`)).join(' ')
      seen[words] = (seen[words] ?? 0) + 1
    }
    process.stdout.write(`restore: ${JSON.stringify(seen)}\n`)
    expect(Object.keys(seen).filter((words) => words !== 'old old' && words !== 'new new')).toEqual([])
  })
})
