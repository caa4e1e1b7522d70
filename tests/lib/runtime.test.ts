import { afterEach, beforeEach, expect, it } from 'vitest'
import { loadConfig } from '../../lib/config.ts'
import * as runtime from '../../lib/runtime.ts'
import { temporaryFolder } from '../support/temporary.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  folder = await temporaryFolder()
})
afterEach(async () => {
  await runtime.close()
  await folder.remove()
})

const configure = (settings: Record<string, string> = {}, more: Partial<runtime.RuntimeOverrides> = {}) =>
  runtime.configure({
    config: loadConfig({ DATA_DIR: folder.path, LOG_LEVEL: 'silent', ...settings }),
    ...more,
  })

it('builds a service once, whoever asks', async () => {
  configure()
  const [one, other] = await Promise.all([runtime.devices(), runtime.devices()])
  expect(one).toBe(other)
  expect(await runtime.registry()).toBe(await runtime.registry())
})

it('builds a service again after it could not be built', async () => {
  configure({ DATABASE_URL: `file:${folder.path}/missing/registry.db` })
  const first = runtime.registry()
  await expect(first).rejects.toThrow()
  const second = runtime.registry()
  expect(second).not.toBe(first)
  await expect(second).rejects.toThrow()
})

it('takes no overrides after its first use, and forgets them when it is closed', async () => {
  const routes = [{ method: 'GET', path: '/a' }]
  configure({ STAGE: 'dev' }, { routes })
  expect(runtime.config().stage).toBe('dev')
  expect(runtime.routes()).toBe(routes)
  expect(() => configure()).toThrow()
  await runtime.close()
  expect(runtime.routes()).toEqual([])
  configure()
  expect(runtime.config().stage).toBe('local')
})

it('closes what it has built, and nothing twice', async () => {
  configure()
  const { db } = await runtime.registry()
  await runtime.close()
  await expect(db.$client.execute('SELECT 1')).rejects.toThrow()
  await runtime.close()
})

it('writes the last lines of the log when it is closed, and when the process ends before', async () => {
  const lines: string[] = []
  const settings = { LOG_LEVEL: 'info' }
  const more = { longRunning: true, writeLog: (text: string) => void lines.push(text) }
  const before = process.listenerCount('exit')
  for (const end of [runtime.close, () => process.listeners('exit').at(-1)?.(0)]) {
    configure(settings, more)
    runtime.log().info('the last line')
    await new Promise((resolve) => setImmediate(resolve))
    expect(lines).toEqual([])
    await end()
    expect(lines.splice(0)).toMatchObject([expect.stringContaining('the last line')])
    await runtime.close()
  }
  expect(process.listenerCount('exit')).toBe(before)
})

it('lets no line of a function wait', async () => {
  const lines: string[] = []
  configure({ LOG_LEVEL: 'info' }, { writeLog: (text) => void lines.push(text) })
  runtime.log().info('a line')
  await new Promise((resolve) => setImmediate(resolve))
  expect(lines).toHaveLength(1)
})

it('has neither messenger nor accounts without a broker', async () => {
  configure({ MQTT_URL: 'none' })
  expect(runtime.publisher()).toBeUndefined()
  expect(await runtime.accounts()).toBeUndefined()
  expect(runtime.brokerKind()).toBe('none')
})

it('tells the ports that the embedded broker really has', async () => {
  configure(
    { IOT_ENDPOINT: 'http://127.0.0.1:1', MQTT_PORT: '0' },
    {
      mqttPorts: () => ({ mqtt: 40_001, mqttTls: undefined, mqttWs: 40_002 }),
    },
  )
  expect(await runtime.brokerAddress('gateway.local')).toEqual({
    host: 'gateway.local',
    port: 40_001,
    tlsPort: null,
    alpn: null,
    webSocketUrl: 'ws://gateway.local:40002/mqtt',
  })
})
