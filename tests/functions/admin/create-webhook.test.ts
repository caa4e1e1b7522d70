import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import * as runtime from '../../../lib/runtime.ts'
import { itIsForAdminsOnly } from './refusals.ts'
import { withWebhooks } from './webhook-calls.ts'

const calls = withWebhooks()
const { create, list } = calls

describe('a new webhook', () => {
  itIsForAdminsOnly(
    () => calls.functions,
    (options) => create({ name: 'for admins' }, options),
    201,
  )

  it('is shown with its secret, which the database does not have', async () => {
    const answer = await create({ name: ' On call ', events: ['alert.*', 'device.offline', 'alert.*'] })
    expect(answer.status).toBe(201)
    expect(answer.json).toEqual({
      status: 'success',
      message: 'Webhook created successfully',
      webhook: {
        id: expect.any(Number),
        name: 'On call',
        url: calls.receiver.url,
        events: ['alert.*', 'device.offline'],
        enabled: true,
        disabled_reason: null,
        created_at: expect.stringMatching(/Z$/),
        updated_at: expect.stringMatching(/Z$/),
        failures: 0,
        paused_until: null,
        pending: 0,
      },
      secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/),
    })
    const { db } = await runtime.registry()
    const rows = JSON.stringify(await db.all(sql`select * from webhooks`))
    expect(rows).toContain(calls.receiver.url)
    expect(rows).not.toContain(answer.json.secret.slice(6, 20))
    expect(JSON.stringify((await list()).json)).not.toContain(answer.json.secret.slice(6, 20))
  })

  it.each([
    [{ name: '' }, 'name'],
    [{ url: 'no address' }, 'url'],
    [{ url: `https://example.com/${'x'.repeat(2048)}` }, 'url'],
    [{ url: 'http://8.8.8.8' }, 'url'],
    [{ url: 'https://user:password@example.com' }, 'url'],
    [{ url: 'https://127.0.0.2' }, 'url'],
    [{ url: 'https://169.254.169.254/latest/meta-data' }, 'url'],
    [{ url: 'https://[::1]' }, 'url'],
    [{ url: 'https://[::ffff:10.0.0.1]' }, 'url'],
    [{ url: 'https://2851995648' }, 'url'],
    [{ events: [] }, 'events'],
    [{ events: ['device.exploded'] }, 'events.0'],
    [{ events: ['device.o*'] }, 'events.0'],
    [{ events: 'device.*' }, 'events'],
    [{ enabled: 'yes' }, 'enabled'],
  ])('is refused by 422 for %j', async (fields, path) => {
    const answer = await create(fields)
    expect([answer.status, answer.json.error.details[0].path]).toEqual([422, path])
    expect(answer.text).not.toContain('password@')
  })

  it('is refused when there are a hundred, until some are deleted', async () => {
    const { db } = await runtime.registry()
    await db.run(sql`insert into webhooks (name, url, events, enabled, created_at, updated_at)
      with recursive n(i) as (select 1 union all select i + 1 from n where i < 100)
      select 'filler', 'https://example.com', '[]', 0, 0, 0 from n`)
    const answer = await create()
    expect([answer.status, answer.json.error.code]).toEqual([409, 'CONFLICT'])
    await db.run(sql`delete from webhooks where name = 'filler'`)
    const answers = await Promise.all(Array.from({ length: 3 }, () => create()))
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201])
  })
})
