/** `npm run smoke` against `npm start`: what it finds right, what it finds wrong, and that it removes what it made. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { root } from '../../lib/root.ts'
import type { SmokeResult } from '../../simulators/smoke/smoke-test.ts'
import { runProgram } from '../support/programs.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'

const adminToken = 'an-admin-token-of-the-tests'
const enrollmentKey = 'an-enrollment-key-of-the-tests'
const longMs = 120_000

/** Runs the program as its npm script does. */
const smoke = (args: readonly string[], env: Record<string, string> = { ADMIN_TOKEN: adminToken }) =>
  runProgram(process.execPath, ['scripts/run.mjs', 'simulators/smoke.ts', ...args], {
    cwd: fileURLToPath(root),
    env,
  })

/** Runs it with `--json`. @returns its result, after a look for secrets in all that it printed. */
const smokeResult = async (args: readonly string[], secrets?: Record<string, string>) => {
  const { code, out, err } = await smoke([...args, '--json'], secrets)
  for (const secret of [adminToken, enrollmentKey]) expect(out + err).not.toContain(secret)
  const result = JSON.parse(out) as SmokeResult
  expect(code, out).toBe(result.ok ? 0 : 1)
  return result
}
const failedStep = ({ steps }: SmokeResult) => steps.find(({ ok }) => !ok)

/** A door in front of the server that can answer requests itself. */
const startDoor = async (to: string) => {
  const state = {
    /** Undefined hands the request on. */
    answer: (_method: string, _path: string): number | undefined => undefined,
    /** The server does what it is asked, and its answer does not arrive. */
    losesAnswer: (_path: string): boolean => false,
  }
  const server = createServer(async (incoming, response) => {
    const status = state.answer(incoming.method ?? '', incoming.url ?? '')
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    if (status !== undefined)
      return void response.writeHead(status).end('{"error":{"message":"Made to fail."}}')
    const headers = new Headers()
    for (const name of ['authorization', 'x-api-key', 'x-enrollment-key', 'content-type'])
      if (incoming.headers[name] !== undefined) headers.set(name, String(incoming.headers[name]))
    const got = await fetch(`${to}${incoming.url}`, {
      method: incoming.method ?? 'GET',
      headers,
      ...(chunks.length > 0 && { body: Buffer.concat(chunks) }),
    })
    if (state.losesAnswer(incoming.url ?? '')) return void response.writeHead(500).end()
    response.writeHead(got.status, { 'Content-Type': 'application/json' }).end(await got.text())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(state, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => server.close(),
  })
}

let server: StandaloneServer
let door: Awaited<ReturnType<typeof startDoor>>
const devices = async () => {
  const { body } = await server.request('GET', '/api/v1/admin/devices', {
    headers: { Authorization: `Bearer ${adminToken}` },
  })
  return (body as { total_devices: number }).total_devices
}

beforeAll(async () => {
  server = await startStandaloneServer({
    settings: { ADMIN_TOKEN: adminToken, ENROLLMENT_KEY: enrollmentKey, OPEN_REGISTRATION: 'false' },
  })
  door = await startDoor(server.httpUrl)
}, longMs)
afterAll(async () => {
  door?.close()
  await server?.stop()
})

it(
  'finds a whole server right, with a registration by key and with an import',
  async () => {
    const names = (result: SmokeResult) => result.steps.map(({ name }) => name)
    const rest = ['HTTP in', 'HTTP out', 'MQTT credentials', 'MQTT connect', 'MQTT in', 'MQTT out', 'command']
    const end = ['revoke', 'MQTT refused', 'remove']
    const registered = await smokeResult(['--url', server.httpUrl], {
      ADMIN_TOKEN: adminToken,
      ENROLLMENT_KEY: enrollmentKey,
    })
    expect(failedStep(registered)).toBeUndefined()
    expect(names(registered)).toEqual(['health', 'register', ...rest, ...end])
    const imported = await smokeResult(['--url', server.httpUrl])
    expect(failedStep(imported)).toBeUndefined()
    expect(names(imported)).toEqual(['health', 'import', ...rest, ...end])
    expect(await devices()).toBe(0)
  },
  longMs,
)

it(
  'prints a line for each step, and leaves MQTT out on request',
  async () => {
    const { code, out } = await smoke(['--url', server.httpUrl, '--http-only'])
    expect(code, out).toBe(0)
    expect(out).toMatch(/^ok {6}health +\d+\.\d s {2}healthy, version /)
    expect(out).not.toContain('MQTT')
    expect(out).toContain(`${server.httpUrl} works, `)
  },
  longMs,
)

it(
  'names the step that fails, and removes the device all the same',
  async () => {
    door.answer = (_method, path) => (path.includes('fields=smoke_mqtt') ? 500 : undefined)
    const result = await smokeResult(['--url', door.url])
    expect(failedStep(result)).toMatchObject({
      name: 'MQTT out',
      detail: expect.stringContaining('HTTP 500'),
    })
    expect(result.steps.at(-1)).toMatchObject({ name: 'clean up', ok: true })
    expect(result.left).toEqual([])
    expect(await devices()).toBe(0)
  },
  longMs,
)

it(
  'removes a device whose registration it got no answer for',
  async () => {
    door.answer = () => undefined
    door.losesAnswer = (path) => path.endsWith('/import')
    const lost = await smokeResult(['--url', door.url])
    door.losesAnswer = () => false
    expect(failedStep(lost)).toMatchObject({ name: 'import' })
    const removed = { name: 'clean up', ok: true, detail: expect.stringContaining('removed smoke-') }
    expect(lost.steps.at(-1)).toMatchObject(removed)
    expect(await devices()).toBe(0)
  },
  longMs,
)

it(
  'says what stays when it cannot remove it',
  async () => {
    door.answer = (method, path) =>
      method === 'DELETE' || path.includes('fields=smoke_http') ? 500 : undefined
    const result = await smokeResult(['--url', door.url])
    expect(failedStep(result)?.name).toBe('HTTP out')
    expect(result.left).toEqual([expect.stringMatching(/^The device smoke-\S+, id \d+, and its readings\.$/)])
    expect(await devices()).toBe(1)
  },
  longMs,
)

it(
  'fails with a sentence where nothing answers, and refuses wrong arguments',
  async () => {
    const nobody = await smokeResult(['--url', 'http://127.0.0.1:9'])
    expect(nobody.steps).toMatchObject([
      { name: 'health', ok: false, detail: expect.stringContaining('refused') },
    ])
    for (const [args, secrets, sentence] of [
      [[], undefined, '--url must name the server'],
      [['--url', 'http://iot.example.com'], undefined, 'only over https:'],
      [['--url', 'https://me:secret@iot.example.com'], undefined, 'must not hold a name or a password'],
      [['--url', server.httpUrl], {}, 'ADMIN_TOKEN must hold'],
      [['--url', server.httpUrl, '--timeout', '1'], undefined, '--timeout must be a number from 5 to 600'],
    ] as const) {
      const { code, err } = await smoke(args, secrets)
      expect(code).toBe(2)
      expect(err).toContain(sentence)
    }
  },
  longMs,
)
