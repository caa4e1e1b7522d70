import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../support/free-port.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { ruleEvent } from '../../support/rule-events.ts'

let functions: TestFunctions
beforeAll(async () => {
  // Nothing listens at either address: the store is unavailable, and so is the queue.
  functions = await openFunctions({
    INFLUXDB_URL: `http://127.0.0.1:${await freePort()}`,
    INFLUXDB_TOKEN: 'token',
    SPOOL_QUEUE_URL: `http://127.0.0.1:${await freePort()}/queue`,
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
  })
})
afterAll(() => functions.close())

const ingest = (event: unknown) => functions.invoke('telemetry-ingest', event)

const record = (messageId: string, body: unknown) => ({
  messageId,
  body: typeof body === 'string' ? body : JSON.stringify(body),
  attributes: { SentTimestamp: String(Date.now()) },
})

const lettersOf = async (id: number) =>
  (
    await functions.call('admin-dead-letters', 'GET', `/api/v1/admin/dead-letters?device_id=${id}`, {
      admin: true,
    })
  ).json.dead_letters

describe('while the store and the queue are unavailable', () => {
  it('names only the records that could not be stored, so that the queue delivers these again', async () => {
    const { id } = await functions.register()
    const answer = await ingest({
      Records: [
        record('lost', ruleEvent(id, 'telemetry', { t: 1 })),
        record('broken', ruleEvent(id, 'telemetry', '{"t":')),
        record('also lost', ruleEvent(id, 'telemetry', { t: 2 })),
      ],
    })
    expect(answer).toEqual({
      batchItemFailures: [{ itemIdentifier: 'lost' }, { itemIdentifier: 'also lost' }],
    })
    expect(await lettersOf(id)).toHaveLength(1)
  })

  it('fails for a message of the rule, so that Lambda tries it again', async () => {
    const { id } = await functions.register()
    await expect(ingest(ruleEvent(id, 'telemetry', { t: 1 }))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(await lettersOf(id)).toEqual([])
  })
})
