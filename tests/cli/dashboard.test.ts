import { afterAll, beforeAll, expect, it } from 'vitest'
import { StreamReader } from '../support/event-stream.ts'
import { runIotflow, runNodeAtTerminal } from '../support/iotflow.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'

let server: StandaloneServer
beforeAll(async () => {
  server = await startStandaloneServer()
})
afterAll(() => server?.stop())

const signIn = (link: string) =>
  fetch(`${new URL(link).origin}/api/v1/admin/session`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ code: new URL(link).hash.replace('#code=', '') }),
  })

it('iotflow dashboard prints a link that signs in once', async () => {
  const { code, out, err } = await runIotflow(['dashboard'], { dataDir: server.dataDir })
  expect([code, err]).toEqual([0, ''])
  expect(out).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#code=[\w-]{27}\n$/)
  const answer = await signIn(out.trim())
  const { token } = (await answer.json()) as { token: string }
  const headers = { Authorization: `Bearer ${token}` }
  expect((await server.request('GET', '/api/v1/admin/dashboard', { headers })).status).toBe(200)
  expect((await signIn(out.trim())).status).toBe(401)
})

it('the start prints a link only at a terminal', async () => {
  expect(server.out()).toMatch(/^ {2}Dashboard: http:\/\/127\.0\.0\.1:\d+\/$/m)
  const folder = await temporaryFolder()
  const { out } = await runNodeAtTerminal(
    ['scripts/run.mjs', 'local/start.ts'],
    [['Ctrl-C ends it.', '\u0003']],
    { dataDir: folder.path, settings: { PORT: '0', MQTT_PORT: '0', MQTT_WS_PORT: '0', LOG_LEVEL: 'warn' } },
  )
  await folder.remove()
  expect(out).toMatch(/^ {2}Dashboard: http:\/\/127\.0\.0\.1:\d+\/#code=[\w-]{27}\r?$/m)
})

it('a server that ends ends its streams, and does not wait for their readers', async () => {
  const other = await startStandaloneServer({ settings: { ADMIN_TOKEN: 'an-admin-token-of-the-tests' } })
  const answer = await fetch(`${other.httpUrl}/api/v1/admin/stream`, {
    headers: { Authorization: 'Bearer an-admin-token-of-the-tests' },
  })
  const reader = new StreamReader(answer.body)
  await reader.nextOf('overview')
  const stopped = other.stop()
  // A connection that is cut would reject.
  while ((await reader.next()) !== undefined);
  await stopped
})
