import { createClient } from '@libsql/client'
import { describe, expect, it, onTestFinished } from 'vitest'
import { knownError } from '../../../lib/errors.ts'
import { openDatabase } from '../../../lib/libsql/client.ts'
import { describeRegistry } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

describeRegistry('a database', (place) => {
  const open = async () => {
    const { url, remove } = await place()
    onTestFinished(remove)
    const client = await openDatabase({ url })
    onTestFinished(() => client.close())
    await client.execute('CREATE TABLE t (n INTEGER UNIQUE)')
    return { url, client }
  }

  it('keeps its writes for the next client, and all or none of a batch', async () => {
    const { url, client } = await open()
    await client.execute({ sql: 'INSERT INTO t VALUES (?)', args: [1] })
    await client.batch(['INSERT INTO t VALUES (2)', 'INSERT INTO t VALUES (3)'], 'write')
    await expect(client.batch(['INSERT INTO t VALUES (4)', 'INSERT INTO t VALUES (4)'])).rejects.toThrow()
    const next = await openDatabase({ url, intMode: 'bigint' })
    onTestFinished(() => next.close())
    const { rows } = await next.execute('SELECT n FROM t ORDER BY n')
    expect(rows.map((row) => row[0])).toEqual([1n, 2n, 3n])
  })

  it('throws the errors of a statement as they are', async () => {
    const { client } = await open()
    const error = await client.execute('INSERT INTO nowhere VALUES (1)').catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(Error)
    expect(knownError(error)).toBeUndefined()
  })
})

describe('a file', () => {
  const openFile = async () => {
    const folder = await temporaryFolder()
    onTestFinished(folder.remove)
    const url = `file:${folder.path}/data.db`
    const client = await openDatabase({ url })
    onTestFinished(() => client.close())
    return { url, client }
  }

  it('is written ahead, flushed to the disk with each write, and holds foreign keys', async () => {
    const { client } = await openFile()
    const pragma = async (name: string) => (await client.execute(`PRAGMA ${name}`)).rows[0]?.[0]
    expect(await pragma('journal_mode')).toBe('wal')
    expect(await pragma('synchronous')).toBe(2)
    expect(await pragma('foreign_keys')).toBe(1)
  })

  it('that another process holds for too long is UNAVAILABLE', async () => {
    const { url, client } = await openFile()
    await client.execute('CREATE TABLE t (n INTEGER)')
    const other = createClient({ url, concurrency: 1 })
    const held = await other.transaction('write')
    onTestFinished(() => {
      held.close()
      other.close()
    })
    await client.execute('PRAGMA busy_timeout = 1')
    const busy = { code: 'UNAVAILABLE', retryAfterS: 2, cause: { code: 'SQLITE_BUSY' } }
    await expect(client.execute('INSERT INTO t VALUES (1)')).rejects.toMatchObject(busy)
    await expect(client.batch(['INSERT INTO t VALUES (1)'], 'write')).rejects.toMatchObject(busy)
    held.close()
    await client.execute('INSERT INTO t VALUES (1)')
  })

  it('that cannot be opened is refused', async () => {
    await expect(openDatabase({ url: 'file:/nowhere/at/all.db' })).rejects.toThrow()
  })
})
