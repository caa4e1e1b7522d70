import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openRegistry, type Registry, type RegistryDb } from '../../../lib/registry/db.ts'
import { SharedTransaction } from '../../../lib/webhooks/shared-transaction.ts'
import { temporaryFolder } from '../../support/temporary.ts'

describe('a shared transaction', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  let registry: Registry
  let db: RegistryDb
  beforeAll(async () => {
    folder = await temporaryFolder()
    registry = await openRegistry({ url: `file:${folder.path}/registry.db` })
    db = registry.db
    await db.run(sql`create table written (id integer primary key)`)
  })
  beforeEach(() => db.run(sql`delete from written`))
  afterAll(async () => {
    registry.close()
    await folder.remove()
  })
  const insert = (id: number) => db.run(sql`insert into written values (${id})`)
  const ids = async () =>
    (await db.all<{ id: number }>(sql`select id from written order by id`)).map(({ id }) => id)

  it('takes what is written at the same time, and what comes later goes into the next one', async () => {
    let transactions = 0
    const counting = new Proxy(db, {
      get(target, name) {
        if (name === 'batch') transactions += 1
        return Reflect.get(target, name)
      },
    })
    const shared = new SharedTransaction(counting)
    await Promise.all([shared.write([insert(1), insert(2)]), shared.write([insert(3)]), shared.write([])])
    await shared.write([insert(4)])
    expect([await ids(), transactions]).toEqual([[1, 2, 3, 4], 2])
  })

  it('fails for all of them when one statement fails, and the next one works', async () => {
    const shared = new SharedTransaction(db)
    const ends = await Promise.allSettled([shared.write([insert(1)]), shared.write([insert(2), insert(2)])])
    expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(await ids()).toEqual([])
    await shared.write([insert(1)])
    expect(await ids()).toEqual([1])
  })
})
