import { spawn } from 'node:child_process'
import { cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import mqtt from 'mqtt'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { settingNames } from '../../lib/config.ts'
import { createConfigurations } from '../../lib/configuration/configuration-service.ts'
import { createConfigurationStore } from '../../lib/configuration/configuration-store.ts'
import { ConfigurationPublisher } from '../../lib/configuration/publisher.ts'
import { createDevices } from '../../lib/devices/devices.ts'
import { createLog } from '../../lib/log.ts'
import { defaultTopics } from '../../lib/mqtt/topics.ts'
import { openRegistry } from '../../lib/registry/db.ts'
import { runProgram } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { patienceMs } from '../support/waiting.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
/** All files that `npm run dev` reads. The test runs it in a copy, which it can edit. */
const parts = [
  'dashboard',
  'functions',
  'lib',
  'local',
  'scripts',
  'cloud',
  'iot-rules',
  'serverless.yml',
  'package.json',
  'tsconfig.json',
]

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let device: { readonly id: number; readonly apiKey: string }
let child: ReturnType<typeof spawn>
let out = ''

const until = async <T>(what: string, ask: () => Promise<T | undefined> | T | undefined) => {
  const deadline = Date.now() + patienceMs
  for (;;) {
    const found = await ask()
    if (found !== undefined) return found
    if (Date.now() > deadline) throw new Error(`not reached: ${what}\n${out.slice(-3000)}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
const url = () => /^ {2}HTTP +(\S+)$/m.exec(out)?.[1] ?? ''
/** The CORS headers that a browser gets, for a call and for its preflight request. */
const corsFor = async (base: string, origin: string) => {
  const asked = { Origin: origin, 'Access-Control-Request-Method': 'PUT' }
  const answers = [
    await fetch(`${base}/health`, { headers: { Origin: origin } }),
    await fetch(`${base}/api/v1/admin/devices/1`, { method: 'OPTIONS', headers: asked }),
  ]
  return answers.map(({ headers }) =>
    Object.fromEntries([...headers].filter(([name]) => name.startsWith('access-control-'))),
  )
}
const get = (path: string) =>
  fetch(`${url()}${path}`).then(
    async (response) => ({ status: response.status, text: await response.text() }),
    () => undefined,
  )
const edit = async (file: string, change: (source: string) => string) => {
  const path = `${folder.path}/${file}`
  const source = await readFile(path, 'utf8')
  const changed = change(source)
  expect(changed).not.toBe(source)
  await writeFile(path, changed)
}

const startDev = (settings: Record<string, string>) => {
  const started = spawn(process.execPath, ['scripts/run.mjs', 'local/dev/dev.ts'], {
    cwd: folder.path,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      ...Object.fromEntries(settingNames.map((name) => [name, ''])),
      PORT: '0',
      MQTT_PORT: '0',
      MQTT_WS_PORT: 'none',
      DATA_DIR: `${folder.path}/data`,
      ...settings,
    },
  })
  for (const stream of [started.stdout, started.stderr])
    stream?.on('data', (chunk) => {
      out += chunk
    })
  return started
}

/** Registers a device and sets its configuration before the start. */
const addDevice = async () => {
  await mkdir(`${folder.path}/data`)
  const registry = await openRegistry({ url: `file:${folder.path}/data/registry.db` })
  await registry.migrate()
  const { db } = registry
  const log = createLog('silent')
  const devices = createDevices({ db, log, keyLength: 32, offlineAfterS: 300, cacheMs: 0 })
  const { device, apiKey } = await devices.register({ name: 'pump', deviceType: 'actuator' })
  const { read } = createConfigurationStore({ db })
  const publisher = new ConfigurationPublisher({ topics: defaultTopics, db, read, messenger: undefined, log })
  await createConfigurations({ db, publisher }).change(
    device.id,
    { interval: { value: 30, dataType: 'integer' } },
    { by: 'admin' },
  )
  await devices.close()
  registry.close()
  return { id: device.id, apiKey }
}

beforeAll(async () => {
  folder = await temporaryFolder()
  for (const part of parts) await cp(`${root}${part}`, `${folder.path}/${part}`, { recursive: true })
  await symlink(`${root}node_modules`, `${folder.path}/node_modules`)
  device = await addDevice()
  child = startDev({})
  await until('the start', () => (out.includes('Ctrl-C ends it.') ? true : undefined))
})

afterAll(async () => {
  if (child.exitCode === null) child.kill('SIGKILL')
  await rm(folder.path, { recursive: true, force: true })
})

it('prints every route with its function, the MQTT address, and commands to try', () => {
  expect(out).toMatch(/^ {2}POST +\/api\/v1\/devices\/register +devices-register$/m)
  expect(out).toMatch(/^ {2}MQTT +mqtt:\/\/127\.0\.0\.1:\d+$/m)
  expect(out).toContain('Try it:')
  // The port is outside the range that the system gives to outgoing connections: one of those could be taken during a rebuild.
  expect(Number(new URL(url()).port)).toBeGreaterThanOrEqual(20_000)
  expect(Number(new URL(url()).port)).toBeLessThan(32_000)
})

it('publishes configurations again at its start, because its broker has no memory', async () => {
  const address = /^ {2}MQTT +(\S+)$/m.exec(out)?.[1] ?? ''
  const client = await mqtt.connectAsync(address, {
    clientId: String(device.id),
    username: String(device.id),
    password: device.apiKey,
  })
  const published = new Promise((resolve) =>
    client.once('message', (_topic, payload, { retain }) => resolve([retain, JSON.parse(String(payload))])),
  )
  await client.subscribeAsync(`iotflow/devices/${device.id}/config`, { qos: 1 })
  expect(await published).toEqual([true, { version: 1, configuration: { interval: 30 } }])
  await client.endAsync()
})

it('passes the smoke test: every function works as it is emulated, over HTTP and MQTT', async () => {
  const token = (await readFile(`${folder.path}/data/admin-token`, 'utf8')).trim()
  const args = ['scripts/run.mjs', 'simulators/smoke.ts', '--url', url(), '--json']
  const { code, out: result } = await runProgram(process.execPath, args, {
    cwd: root,
    env: { ADMIN_TOKEN: token },
  })
  expect(code, result).toBe(0)
}, 180_000)

it('allows calls from browsers only for the origins in CORS_ORIGINS', async () => {
  expect(await corsFor(url(), 'https://app.example')).toEqual([{}, {}])
  const before = out.length
  const opened = startDev({ DATA_DIR: `${folder.path}/opened`, CORS_ORIGINS: 'https://app.example' })
  const ended = new Promise((resolve) => opened.once('exit', resolve))
  try {
    const base = await until('the start', () => /^ {2}HTTP +(\S+)$/m.exec(out.slice(before))?.[1])
    expect(await corsFor(base, 'https://other.example')).toEqual([{}, {}])
    const allowed = await corsFor(base, 'https://app.example')
    for (const headers of allowed) {
      expect(headers['access-control-allow-origin']).toBe('https://app.example')
      expect(headers).not.toHaveProperty('access-control-allow-credentials')
      expect(headers['access-control-expose-headers']).toContain('RateLimit-Reset')
    }
    expect(allowed[1]?.['access-control-allow-methods']).toContain('PUT')
    expect(allowed[1]?.['access-control-allow-headers']).toContain('X-API-Key')
  } finally {
    opened.kill('SIGINT')
    await ended
  }
})

it('serves every change of a function, and prints after how long', async () => {
  const before = await until('an answer', () => get('/api/v1/mqtt/status'))
  expect(before.text).not.toContain('changed')
  const times: number[] = []
  for (let turn = 1; turn <= 3; turn += 1) {
    const started = Date.now()
    await edit('functions/mqtt/status.ts', (source) =>
      source.replace(/(changed: \d, )?broker_info: \{/, `changed: ${turn}, broker_info: {`),
    )
    const answer = await until('the change', async () => {
      const found = await get('/api/v1/mqtt/status')
      return found?.text.includes(`"changed":${turn}`) ? found : undefined
    })
    times.push(Date.now() - started)
    expect(answer.status).toBe(200)
  }
  process.stdout.write(`\nChanges were served after ${times.join(', ')} ms.\n`)
})

it('keeps running when a handler throws, when one throws later, and when a source cannot be built', async () => {
  const works = await until('an answer', () => get('/health'))
  expect(works.status).toBe(200)
  await edit('functions/mqtt/status.ts', (source) =>
    source.replace(
      'const connected = await ask()',
      "setTimeout(() => { throw new Error('late') }, 20)\n    throw new Error('at once')",
    ),
  )
  const failed = await until('the failure', async () => {
    const answer = await get('/api/v1/mqtt/status')
    return answer?.status === 500 ? answer : undefined
  })
  expect(failed.text).toContain('INTERNAL')
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect((await until('an answer', () => get('/health'))).status).toBe(200)
  await edit('functions/mqtt/status.ts', (source) => `${source}\nconst = broken\n`)
  await until('the error message', () => (/ERROR/.test(out) ? true : undefined))
  expect((await until('an answer', () => get('/health'))).status).toBe(200)
  expect(child.exitCode).toBeNull()
})

it.each([
  [
    'HOST 0.0.0.0',
    { HOST: '0.0.0.0' },
    /^npm run dev serves this machine only, not HOST 0\.0\.0\.0: .*npm start/m,
  ],
  ['TLS', { TLS_CERT: 'cert.pem', TLS_KEY: 'key.pem' }, /^npm run dev has no TLS: .*npm start/m],
])('refuses %s and names npm start', async (_what, settings, sentence) => {
  const before = out.length
  const refused = startDev(settings)
  const code = await new Promise((resolve) => refused.once('close', resolve))
  expect(out.slice(before)).toMatch(sentence)
  expect(code).toBe(1)
})

it('stops all its processes on Ctrl-C', async () => {
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const address = url()
  child.kill('SIGINT')
  expect(await ended).toBe(0)
  await expect(fetch(`${address}/health`)).rejects.toThrow()
})
