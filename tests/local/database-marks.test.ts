import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'libsql'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { loadConfig } from '../../lib/config.ts'
import { createLog } from '../../lib/log.ts'
import { databaseFiles } from '../../local/database-files.ts'
import { acceptDatabases, DatabaseMarking, databaseFaults, markForStart } from '../../local/database-marks.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { eventually } from '../support/waiting.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  folder = await temporaryFolder()
  await mkdir(join(folder.path, 'one'))
})
afterEach(() => folder.remove())

const configOf = (name = 'one') => loadConfig({ DATA_DIR: join(folder.path, name) })
const pathOf = (file: string, name = 'one') => join(folder.path, name, file)

/** Writes into a database as a server would, and leaves its write-ahead log as a killed one does. */
const write = (file: string, mark?: number) => {
  const db = new Database(file)
  db.exec('PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS changes (x); INSERT INTO changes VALUES (1)')
  if (mark !== undefined) db.exec(`PRAGMA user_version = ${mark}`)
  return db
}
const copyWith = async (files: readonly string[], to: string) => {
  await mkdir(pathOf('', to), { recursive: true })
  for (const file of files) await cp(pathOf(file), pathOf(file, to))
}

describe('a start', () => {
  it('marks new databases, and accepts them again and again', async () => {
    expect([await markForStart(configOf()), await markForStart(configOf())]).toEqual([1, 2])
    const { installation, databases } = JSON.parse(await readFile(pathOf('databases.json'), 'utf8'))
    expect(databases).toEqual({
      registry: { path: 'registry.db', mark: 2 },
      telemetry: { path: 'telemetry.db', mark: 2 },
    })
    for (const { path } of databaseFiles(configOf())) {
      const db = new Database(path)
      const number = (name: string) =>
        (db.prepare(`PRAGMA ${name}`).raw(true).get() as unknown as number[])[0]
      expect([number('application_id'), number('user_version')]).toEqual([installation, 2])
      db.close()
    }
  })

  it('accepts databases of an earlier version, which have no marks', async () => {
    write(pathOf('registry.db')).close()
    write(pathOf('telemetry.db')).close()
    expect(await markForStart(configOf())).toBe(1)
    expect(await databaseFaults(configOf())).toEqual([])
  })

  it('accepts a data directory that was moved as a whole', async () => {
    await markForStart(configOf())
    await cp(pathOf(''), pathOf('', 'two'), { recursive: true })
    expect(await markForStart(configOf('two'))).toBe(2)
  })

  it.each([
    'after databases.json, before the databases are made',
    'after the databases are marked, before databases.json says so',
  ])('goes on when the one before was killed %s', async (when) => {
    if (when.startsWith('after databases')) {
      await acceptDatabases(configOf().dataDir, databaseFiles(configOf()))
    } else {
      await markForStart(configOf())
      for (const name of ['registry.db', 'telemetry.db']) write(pathOf(name), 2).close()
    }
    expect(await markForStart(configOf())).toBeGreaterThan(0)
  })

  it('goes on when only one of the databases got its new mark', async () => {
    await markForStart(configOf())
    write(pathOf('registry.db'), 2).close()
    expect(await markForStart(configOf())).toBe(3)
  })

  it('does not concern databases on a server', async () => {
    const config = loadConfig({ DATA_DIR: pathOf(''), DATABASE_URL: 'http://127.0.0.1:1' })
    expect(await markForStart(config)).toBeUndefined()
  })
})

describe('a database is refused and named', () => {
  it('when it was copied without its log and without databases.json', async () => {
    await markForStart(configOf())
    const db = write(pathOf('telemetry.db'))
    await copyWith(['registry.db', 'telemetry.db'], 'two')
    db.close()
    await expect(markForStart(configOf('two'))).rejects.toThrow(
      /two\/telemetry\.db comes from another data directory and was copied without databases\.json[\s\S]*doctor --accept-data/,
    )
  })

  it('when it has lost its log', async () => {
    await markForStart(configOf())
    const db = write(pathOf('telemetry.db'), 2)
    const state = JSON.parse(await readFile(pathOf('databases.json'), 'utf8'))
    state.databases.telemetry.mark = 2
    await writeFile(pathOf('databases.json'), JSON.stringify(state))
    await copyWith(['registry.db', 'telemetry.db', 'databases.json'], 'two')
    expect(await databaseFaults(configOf())).toEqual([])
    expect(await databaseFaults(configOf('two'))).toEqual([
      `${pathOf('telemetry.db', 'two')} lacks changes of the last run: it was probably copied or moved without its file telemetry.db-wal`,
    ])
    db.close()
  })

  it.each(['registry.db', 'telemetry.db'])('when %s is gone', async (name) => {
    await markForStart(configOf())
    await rm(pathOf(name))
    expect(await databaseFaults(configOf())).toEqual([`${pathOf(name)} is gone`])
    await expect(markForStart(configOf())).rejects.toThrow('is gone')
  })

  it('when it is that of another installation', async () => {
    await mkdir(pathOf('', 'two'))
    await markForStart(configOf())
    await markForStart(configOf('two'))
    await cp(pathOf('registry.db', 'two'), pathOf('registry.db'))
    expect(await databaseFaults(configOf())).toEqual([
      `${pathOf('registry.db')} is not the database of the last run: it comes from another data directory`,
    ])
  })

  it('when it is a new one', async () => {
    await markForStart(configOf())
    await rm(pathOf('registry.db'))
    write(pathOf('registry.db')).close()
    expect(await databaseFaults(configOf())).toEqual([expect.stringContaining('registry.db lacks changes')])
  })

  it('until an operator accepts it', async () => {
    await markForStart(configOf())
    await rm(pathOf('registry.db'))
    await acceptDatabases(configOf().dataDir, databaseFiles(configOf()))
    expect(await markForStart(configOf())).toBe(2)
    expect(await databaseFaults(configOf())).toEqual([])
  })
})

describe('while the server runs', () => {
  it('the mark grows after changes, first in the databases and then in databases.json', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    try {
      const mark = (await markForStart(configOf())) ?? 0
      const marked: number[] = []
      const marking = new DatabaseMarking({
        config: configOf(),
        log: createLog('silent'),
        mark,
        setMarks: async (next) => {
          const { databases } = JSON.parse(await readFile(pathOf('databases.json'), 'utf8'))
          expect(databases.telemetry.mark).toBe(next - 1)
          marked.push(next)
        },
      })
      const db = write(pathOf('telemetry.db'))
      vi.advanceTimersByTime(5000)
      await eventually(async () =>
        expect(JSON.parse(await readFile(pathOf('databases.json'), 'utf8')).databases.registry.mark).toBe(2),
      )
      vi.advanceTimersByTime(5000)
      await marking.close()
      db.close()
      expect(marked).toEqual([2])
    } finally {
      vi.useRealTimers()
    }
  })
})
