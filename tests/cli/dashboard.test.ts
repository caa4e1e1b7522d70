import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { logFile } from '../../local/log-file.ts'
import { StreamReader } from '../support/event-stream.ts'
import { freePort } from '../support/free-port.ts'
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

describe('a start', () => {
  const ports = { MQTT_PORT: '0', MQTT_WS_PORT: '0' }
  /** Calls the server twice below its banner, of which the second is refused, and ends it at the warning about that. */
  const runAtTerminal = async (settings: Readonly<Record<string, string>>) => {
    const folder = await temporaryFolder()
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    let shown = (): void => undefined
    const banner = new Promise<void>((resolve) => {
      shown = resolve
    })
    const ended = runNodeAtTerminal(['scripts/run.mjs', 'local/start.ts'], [['"level":"warn"', '\u0003']], {
      dataDir: folder.path,
      settings: { ...ports, PORT: String(port), ...settings },
      onOut: (out) => /#code=\S+\r?\n/.test(out) && shown(),
    })
    // A server that ends before its banner shows what it said instead.
    await Promise.race([banner, ended])
    await fetch(`${url}/health`)
    await fetch(`${url}/api/v1/admin/devices`, { headers: { Authorization: 'Bearer not-the-token' } })
    const { out } = await ended
    const log = await readFile(logFile(folder.path), 'utf8')
    await folder.remove()
    return { out, log }
  }

  it('prints a link that signs in only at a terminal', () => {
    expect(server.out()).toMatch(/^ {2}Dashboard {2}http:\/\/127\.0\.0\.1:\d+\/$/m)
  })

  it('shows only warnings at a terminal, below the link, and says at the end that nothing is lost', async () => {
    const { out, log } = await runAtTerminal({})
    expect(out).toMatch(
      /valid once, for 5 minutes:\r?\n {2}Dashboard {2}http:\/\/[\d.:]+\/#code=[\w-]{27}\r?\n\{/,
    )
    expect(out).not.toContain('"level":"info"')
    expect(log).toMatch(/"level":"info".*\/health/)
    expect(out).toMatch(/Stopped; everything is on the disk\.\r?\n$/)
    const columns = [...out.matchAll(/^ {2}[A-Z]\w+ +(?=\S)/gm)].map(([name]) => name.length)
    expect([new Set(columns).size, columns.length > 4]).toEqual([1, true])
  })

  it('shows what LOG_LEVEL says, where it is set', async () => {
    expect((await runAtTerminal({ LOG_LEVEL: 'info' })).out).toMatch(/"level":"info".*\/health/)
  })
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
