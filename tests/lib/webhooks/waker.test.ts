import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createLog } from '../../../lib/log.ts'
import { openRegistry, type Registry } from '../../../lib/registry/db.ts'
import { QueueWaker } from '../../../lib/webhooks/waker.ts'
import { findMoto } from '../../support/aws.ts'
import { describeWith } from '../../support/backends.ts'
import { type Sqs, startSqs } from '../../support/sqs.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { until } from '../../support/waiting.ts'

describeWith({ moto: findMoto() !== undefined }, 'the messages that start the delivery of webhooks', () => {
  let sqs: Sqs
  let registry: Registry
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  const lines: string[] = []
  const log = createLog('warn', (text) => lines.push(text))
  beforeAll(async () => {
    sqs = await startSqs()
    folder = await temporaryFolder()
    registry = await openRegistry({ url: `file:${folder.path}/registry.db` })
    await registry.migrate()
  })
  afterAll(async () => {
    registry.close()
    await sqs.stop()
    await folder.remove()
  })
  const wakerOf = (url = sqs.queue.url) => new QueueWaker({ ...sqs.queue, url, db: registry.db, log })
  const received = async (count: number) => {
    const bodies: string[] = []
    await until(
      async () => {
        const messages = await sqs.receive()
        for (const message of messages) {
          bodies.push(message.Body)
          await sqs.delete(message)
        }
        return bodies.length >= count
      },
      `${count} messages`,
      100,
    )
    return bodies
  }

  it('are not sent while no webhook is enabled, and one stands for all that happens within a second', async () => {
    await wakerOf().wake()
    await registry.db.run(sql`insert into webhooks (name, url, events, created_at, updated_at)
      values ('a', 'https://example.com', '["*"]', 0, 0)`)
    const waker = wakerOf()
    for (let n = 0; n < 5; n += 1) await waker.wake()
    await waker.wakeIn(1500)
    expect(await received(2)).toEqual(['{}', '{}'])
  })

  it('are not missed where the queue is away: the schedule does the work', async () => {
    await wakerOf('http://127.0.0.1:9/queue').wake()
    log.flush()
    expect(lines.join('')).toContain('the schedule does it')
  })
})
