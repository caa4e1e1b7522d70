import { afterEach, expect, it, vi } from 'vitest'
import { openServer } from '../../../lib/libsql/server.ts'
import { describeWithSqld, type Sqld, startSqld } from '../../support/sqld.ts'

describeWithSqld('a client of a libSQL server', () => {
  const endings: (() => unknown)[] = []
  afterEach(async () => {
    vi.restoreAllMocks()
    for (const end of endings.splice(0).reverse()) await end()
  })

  const open = async () => {
    const sqld: Sqld = await startSqld()
    endings.push(() => sqld.stop())
    const [one, other] = [openServer({ url: sqld.url }), openServer({ url: sqld.url })]
    endings.push(
      () => one.close(),
      () => other.close(),
    )
    await one.execute('CREATE TABLE t (n INTEGER)')
    return { sqld, one, other }
  }

  it('makes all clients of one process write one after another, and read side by side', async () => {
    const { one, other } = await open()
    const real = globalThis.fetch
    let running = 0
    let most = 0
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
      running += 1
      most = Math.max(most, running)
      return real(input, init).finally(() => {
        running -= 1
      })
    })
    await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        n % 2 === 0
          ? one.execute({ sql: 'INSERT INTO t VALUES (?)', args: [n] })
          : other.batch([{ sql: 'INSERT INTO t VALUES (?)', args: [n] }], 'write'),
      ),
    )
    expect(most).toBe(1)
    for (const read of ['SELECT count(*) FROM t', 'WITH n AS (SELECT * FROM t) SELECT count(*) FROM n']) {
      most = 0
      const found = await Promise.all(Array.from({ length: 5 }, () => one.execute(read)))
      expect(found.map(({ rows }) => rows[0]?.[0])).toEqual([20, 20, 20, 20, 20])
      expect(most).toBeGreaterThan(1)
    }
  })

  it('tries again what the server has no connection for, reads and writes, and gives up in time', async () => {
    const { one } = await open()
    const real = globalThis.fetch
    let refusals = 2
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
      if (refusals === 0) return real(input, init)
      refusals -= 1
      return new Response('', { status: 429 })
    })
    await one.execute('INSERT INTO t VALUES (1)')
    expect(refusals).toBe(0)
    refusals = 2
    expect((await one.execute('SELECT count(*) FROM t')).rows[0]?.[0]).toBe(1)
    refusals = Number.POSITIVE_INFINITY
    await expect(one.execute('INSERT INTO t VALUES (2)')).rejects.toThrow('cannot be used at the moment')
    refusals = 0
    expect((await one.execute('SELECT count(*) FROM t')).rows[0]?.[0]).toBe(1)
  })

  it('writes on after a write that failed', async () => {
    const { one } = await open()
    const results = await Promise.allSettled([
      one.execute('INSERT INTO nowhere VALUES (1)'),
      one.execute('INSERT INTO t VALUES (1)'),
    ])
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
  })

  it('rejects the writes that wait for a server that does not answer', async () => {
    const { sqld, one } = await open()
    sqld.hang()
    try {
      // One after the other would take longer than a test may.
      const results = await Promise.allSettled(
        Array.from({ length: 50 }, () => one.execute('INSERT INTO t VALUES (1)')),
      )
      for (const result of results)
        expect(result).toMatchObject({ status: 'rejected', reason: { code: 'UNAVAILABLE' } })
    } finally {
      sqld.goOn()
    }
  })
})
