import type { APIGatewayProxyEventV2, Context } from 'aws-lambda'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { handler as status } from '../../../functions/devices/status.ts'
import { handler as presence } from '../../../functions/mqtt/presence.ts'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions()
})
afterAll(() => functions.close())

const ask = (key: string) => {
  const event = {
    version: '2.0',
    routeKey: 'GET /api/v1/devices/status',
    rawPath: '/api/v1/devices/status',
    rawQueryString: '',
    headers: { 'x-api-key': key, host: 'localhost' },
    requestContext: { http: { method: 'GET', path: '/api/v1/devices/status', sourceIp: '127.0.0.1' } },
    isBase64Encoded: false,
  } as unknown as APIGatewayProxyEventV2
  return status(event, {} as Context)
}

/** As it is written, not as the process remembers it. */
const written = async (id: number) => {
  const { db } = await runtime.registry()
  const [row] = await db.all<{ seen: number | null; used: number | null }>(
    sql`select last_seen_at as seen, (select last_used_at from credentials where device_id = ${id}) as used
      from devices where id = ${id}`,
  )
  return row
}

it('an answer comes after the use of its key is written', async () => {
  const { id, key } = await functions.register()
  expect(await ask(key)).toMatchObject({ statusCode: 200 })
  expect((await written(id))?.used).toEqual(expect.any(Number))
})

it('an event is done after the last-seen times of its devices are written', async () => {
  const { id } = await functions.register()
  const topic = `iotflow/devices/${id}/status/heartbeat`
  await presence({ payload: '', topic, client_id: String(id), received_at: Date.now() })
  expect((await written(id))?.seen).toEqual(expect.any(Number))
})

it('the answer is the same when they cannot be written', async () => {
  const { id, key } = await functions.register()
  const { db } = await runtime.registry()
  await db.run(sql`create trigger refuses before update of last_used_at on credentials
    begin select raise(abort, 'not now'); end`)
  expect(await ask(key)).toMatchObject({ statusCode: 200 })
  expect((await written(id))?.used).toBeNull()
  await db.run(sql`drop trigger refuses`)
})

it('a handler uses the services of the next runtime once the first one is closed', async () => {
  const { key } = await functions.register()
  expect(await ask(key)).toMatchObject({ statusCode: 200 })
  await functions.close()
  functions = await openFunctions()
  expect(await ask(key)).toMatchObject({ statusCode: 401 })
  const { key: another } = await functions.register()
  expect(await ask(another)).toMatchObject({ statusCode: 200 })
})
