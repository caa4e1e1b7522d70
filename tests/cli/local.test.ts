import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runAtTerminal, runIotflow, runLine, startIotflow } from '../support/iotflow.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { eventually } from '../support/waiting.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let server: StandaloneServer
beforeAll(async () => {
  folder = await temporaryFolder()
  server = await startStandaloneServer()
})
afterAll(async () => {
  await server?.stop()
  await folder?.remove()
})

describe('iotflow logs', () => {
  it('shows the last lines, and with -f what is added', async () => {
    await server.request('GET', '/nowhere-1')
    const { code, out } = await runIotflow(['logs', '-n', '5'], { dataDir: server.dataDir })
    expect(code).toBe(0)
    expect(out).toMatch(/^\S+Z INFO +request {2}.*path=\/nowhere-1/m)
    const { child, ended } = startIotflow(['logs', '-f', '-n', '0', '--json'], { dataDir: server.dataDir })
    let shown = ''
    child.stdout?.on('data', (chunk) => {
      shown += chunk
    })
    let asked = 1
    await eventually(async () => {
      asked += 1
      await server.request('GET', `/nowhere-${asked}`)
      expect(shown).toContain('"path":"/nowhere-')
    })
    child.kill('SIGINT')
    await ended
    expect(shown).not.toContain('/nowhere-1"')
  })

  it('says where there is none', async () => {
    expect(await runIotflow(['logs'], { dataDir: folder.path })).toMatchObject({ code: 4 })
  })
})

describe('iotflow shell', () => {
  it('has the API of a server that runs, at a terminal and from a pipe, and keeps its history', async () => {
    const line = "(await get('/api/v1/admin/devices')).total_devices + 41000"
    const { code, out } = await runAtTerminal(
      ['shell'],
      [
        ['iotflow> ', `${line}\n`],
        ['41000', '.exit\n'],
      ],
      { dataDir: server.dataDir },
    )
    expect([code, out]).toEqual([0, expect.stringContaining('\u001b[33m41000')])
    await eventually(async () =>
      expect(await readFile(join(server.dataDir, 'shell-history'), 'utf8')).toContain(line),
    )
    const piped = await runLine(`echo "(await get('/health')).status" | node cli/bin.mjs shell`, {
      dataDir: server.dataDir,
    })
    expect([piped.code, piped.out]).toEqual([0, expect.stringContaining("'healthy'")])
  })

  it('has the services while no server runs', async () => {
    const { code, out } = await runLine(
      `echo "(await devices.register({ name: 'by hand', deviceType: 'sensor' })).device.id + 5000" | node cli/bin.mjs shell`,
      { dataDir: join(folder.path, 'shell') },
    )
    expect([code, out]).toEqual([0, expect.stringContaining('5001')])
  })
})

describe('iotflow token rotate', () => {
  it('makes a token that the next start accepts', async () => {
    const own = await startStandaloneServer({ settings: { DATA_DIR: join(folder.path, 'token') } })
    const file = join(folder.path, 'token/admin-token')
    const before = await readFile(file, 'utf8')
    const { out } = await runIotflow(['token', 'rotate'], { dataDir: own.dataDir })
    expect(out).toContain('keeps the old one until it is restarted')
    await own.stop()
    const after = await readFile(file, 'utf8')
    expect(after).not.toBe(before)
    const again = await startStandaloneServer({ settings: { DATA_DIR: own.dataDir } })
    const list = (token: string) =>
      again.request('GET', '/api/v1/admin/devices', { headers: { Authorization: `Bearer ${token.trim()}` } })
    expect([(await list(before)).status, (await list(after)).status]).toEqual([401, 200])
    await again.stop()
  })
})

describe('iotflow reset', () => {
  it('asks for the name of the folder, and leaves what is not its own', async () => {
    const dataDir = join(folder.path, 'resetting')
    const own = await startStandaloneServer({ settings: { DATA_DIR: dataDir } })
    expect(await runIotflow(['reset', '--yes'], { dataDir })).toMatchObject({
      code: 1,
      err: expect.stringContaining('is in use by another IoTFlow'),
    })
    await own.stop()
    await writeFile(join(dataDir, 'notes.txt'), 'mine')
    const kept = await runAtTerminal(['reset'], [['confirm: ', 'yes\n']], { dataDir })
    expect([kept.code, existsSync(join(dataDir, 'registry.db'))]).toEqual([1, true])
    const { code } = await runAtTerminal(['reset'], [['confirm: ', `${basename(dataDir)}\n`]], { dataDir })
    expect([code, existsSync(join(dataDir, 'registry.db'))]).toEqual([0, false])
    expect(existsSync(join(dataDir, 'notes.txt'))).toBe(true)
    const again = await startStandaloneServer({ settings: { DATA_DIR: dataDir } })
    await again.stop()
  })
})

describe('iotflow restore', () => {
  it('asks before it replaces databases', async () => {
    const dataDir = join(folder.path, 'asking')
    const file = join(folder.path, 'asking.backup')
    expect((await runIotflow(['backup', file], { dataDir: server.dataDir })).code).toBe(0)
    expect((await runIotflow(['restore', file], { dataDir })).code).toBe(0)
    expect(await runIotflow(['restore', file], { dataDir })).toMatchObject({
      code: 2,
      err: 'Nobody can be asked here: --yes confirms it.\n',
    })
    const kept = await runAtTerminal(['restore', file], [['confirm: ', 'no\n']], { dataDir })
    expect([kept.code, kept.out]).toEqual([1, expect.stringContaining('Nothing was changed.')])
    expect((await runAtTerminal(['restore', file], [['confirm: ', 'asking\n']], { dataDir })).code).toBe(0)
  })
})

describe('iotflow doctor', () => {
  it('names bad settings, ports that are taken, and backends that do not answer', async () => {
    const dataDir = join(folder.path, 'sick')
    await mkdir(dataDir)
    const bad = await runIotflow(['doctor'], {
      dataDir,
      settings: { RETENTION_DAYS: 'many', MQTT_HOST: 'x' },
    })
    expect(bad).toMatchObject({ code: 1, err: '2 checks failed.\n' })
    expect(bad.out).toMatch(/failed +settings +MQTT_HOST is the old name/)
    const settings = {
      PORT: new URL(server.httpUrl).port,
      MQTT_PORT: '0',
      MQTT_WS_PORT: '0',
      INFLUXDB_URL: 'http://127.0.0.1:2',
      INFLUXDB_TOKEN: 'token',
      REDIS_URL: 'redis://127.0.0.1:2',
      MQTT_URL: 'mqtt://127.0.0.1:2',
      MQTT_USERNAME: 'a',
      MQTT_PASSWORD: 'b',
    }
    const { code, out } = await runIotflow(['doctor', '--json'], { dataDir, settings })
    expect(code).toBe(1)
    const findings = JSON.parse(out) as { check: string; status: string; advice?: string }[]
    const failed = findings.filter(({ status }) => status === 'failed')
    expect(failed.map(({ check }) => check)).toEqual([
      `PORT ${settings.PORT}`,
      'INFLUXDB_URL',
      'REDIS_URL',
      'MQTT_URL',
    ])
    for (const { advice } of failed) expect(advice).toMatch(/\.$/)
  })
})
