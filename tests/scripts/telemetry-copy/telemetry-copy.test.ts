/** `npm run telemetry:copy` as a process of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { settingNames } from '../../../lib/config.ts'
import { createLog } from '../../../lib/log.ts'
import { openEmbedded } from '../../../lib/telemetry/embedded/open.ts'
import { openInfluxStore } from '../../../lib/telemetry/influx/store.ts'
import type { TelemetryStore } from '../../../lib/telemetry/store.ts'
import { answer, startInfluxServer } from '../../support/influx-server.ts'
import { describeWithInflux, influxSettings, ownBucket } from '../../support/influxdb.ts'
import { startStandaloneServer } from '../../support/standalone.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { writeEntry } from '../../support/write-entry.ts'

const log = createLog('silent')
const noSettings = Object.fromEntries(settingNames.map((name) => [name, '']))
const token = 'secret-token-of-the-test'

const endings: (() => unknown)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

const newFolder = async () => {
  const folder = await temporaryFolder()
  endings.push(folder.remove)
  return folder.path
}

const start = (args: readonly string[], settings: Record<string, string>) => {
  const child = spawn(
    process.execPath,
    ['scripts/run.mjs', 'scripts/telemetry-copy/telemetry-copy.ts', ...args],
    {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...noSettings, ...settings },
    },
  )
  endings.push(() => child.kill('SIGKILL'))
  let [out, err] = ['', '']
  child.stdout.on('data', (text) => {
    out += text
  })
  child.stderr.on('data', (text) => {
    err += text
  })
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, out, err }))
  return { child, ended, out: () => out }
}
const copy = (args: readonly string[], settings: Record<string, string>) => start(args, settings).ended

const toInflux = ['--from', 'embedded', '--to', 'influxdb']
const toEmbedded = ['--from', 'influxdb', '--to', 'embedded']

const day = 86_400_000
const began = BigInt(Date.now() - day) * 1_000_000n

/** Readings of three devices, a thousand at once. */
const fill = async (path: string, thousands: number) => {
  const { store, close } = await openEmbedded({
    at: { file: join(path, 'telemetry.db') },
    log,
    retentionMs: 0,
  })
  for (let n = 0; n < thousands; n += 1)
    await writeEntry(store, {
      deviceId: 1 + (n % 3),
      deviceType: 'sensor',
      location: n % 2 === 0 ? 'Lab' : null,
      receivedAt: 1_790_000_000_000 + n,
      readings: Array.from({ length: 1000 }, (_, at) => ({
        time: began + BigInt(n * 1000 + at) * 1_000_000n,
        fields: { n, at, label: `${n}-${at}` },
        metadata: undefined,
      })),
    })
  await close()
}

const contentOf = async (store: TelemetryStore) => {
  const content: Record<string, unknown> = {}
  for (const deviceId of await store.devices()) {
    let from = 0n
    for (;;) {
      const page = await store.scan({ deviceId, from, to: 2n ** 63n - 2n, limit: 10_000 })
      for (const { time, ...rest } of page) content[`${deviceId} ${time}`] = rest
      const last = page.at(-1)
      if (last === undefined) break
      from = last.time + 1n
    }
  }
  return content
}

const contentOfFile = async (path: string) => {
  const at = { file: join(path, 'telemetry.db') }
  const { store } = await openEmbedded({ at, log, retentionMs: 0, readOnly: true })
  try {
    return await contentOf(store)
  } finally {
    await store.close()
  }
}

describe('telemetry:copy', () => {
  it('tells in one sentence which argument is wrong', async () => {
    const ended = await copy([...toInflux, '--since', 'soon'], { DATA_DIR: await newFolder() })
    const err = '--since must be ISO 8601, an epoch, or a time back from now such as -7d, not "soon".\n'
    expect(ended).toEqual({ code: 2, out: '', err })
  })

  it('prints its help', async () => {
    const { code, out } = await copy(['--help'], {})
    expect(code).toBe(0)
    expect(out).toContain('npm run telemetry:copy -- --from embedded --to influxdb [options]')
  })

  it('tells what is missing: settings, telemetry, a server, permission', async () => {
    const path = await newFolder()
    const server = await startInfluxServer()
    const settings = { DATA_DIR: path, INFLUXDB_URL: server.url, INFLUXDB_TOKEN: token }
    for (const path of ['/api/v2/buckets', '/api/v2/orgs'])
      server.reply(path, answer(401, { message: token }))
    const failures = [
      await copy(toInflux, settings),
      await copy(toEmbedded, { DATA_DIR: path }),
      await copy(toInflux, { ...settings, DATA_DIR: await filled() }),
    ]
    await server.end()
    failures.push(await copy(toEmbedded, { ...settings, DATA_DIR: await newFolder() }))
    expect(failures.map(({ err }) => err)).toEqual([
      `There is no ${join(path, 'telemetry.db')}: DATA_DIR must be the folder of the IoTFlow server.\n`,
      '--from influxdb needs the settings INFLUXDB_URL and INFLUXDB_TOKEN.\n',
      'InfluxDB refuses INFLUXDB_TOKEN, or it may not see or make the bucket of INFLUXDB_BUCKET (HTTP_401).\n',
      'INFLUXDB_BUCKET cannot be read: InfluxDB has to run there, have it, and let INFLUXDB_TOKEN read it (ECONNREFUSED).\n',
    ])
    expect(failures.map(({ code }) => code)).toEqual([1, 1, 1, 1])
    expect(JSON.stringify(failures)).not.toContain(token)
  })

  it('does not write into the folder of a running server', async () => {
    const standalone = await startStandaloneServer({ settings: { LOG_LEVEL: 'silent' } })
    endings.push(() => standalone.stop())
    const settings = {
      DATA_DIR: standalone.dataDir,
      INFLUXDB_URL: 'http://127.0.0.1:1',
      INFLUXDB_TOKEN: token,
    }
    expect(await copy(toEmbedded, settings)).toMatchObject({
      code: 1,
      err: `DATA_DIR ${standalone.dataDir} is in use by another IoTFlow: end that one, or set DATA_DIR to another folder.\n`,
    })
  })
})

const filled = async (thousands = 3) => {
  const path = await newFolder()
  await fill(path, thousands)
  return path
}

describeWithInflux('telemetry:copy with InfluxDB', () => {
  const settingsOf = async (path: string) => {
    const at = await ownBucket()
    const influx = openInfluxStore({ connection: at, log })
    endings.push(() => influx.close())
    return { influx, settings: { ...influxSettings, INFLUXDB_BUCKET: at.bucket, DATA_DIR: path } }
  }

  it('copies there and back', async () => {
    const [path, other] = [await filled(), await newFolder()]
    const { influx, settings } = await settingsOf(path)
    const there = await copy(toInflux, settings)
    expect(there.err).toBe('')
    expect(there.out).toMatch(
      /^From the embedded store \S+\nto {3}InfluxDB at \S+, bucket \S+ of iotflow\n(.* readings.*\n)*Copied 3,000 readings of 3 devices in \d+ s \([\d,]+\/s\)\.\nCompared by counts: nothing is missing\.\n$/,
    )
    expect(there.code).toBe(0)
    const content = await contentOfFile(path)
    expect(await contentOf(influx)).toEqual(content)
    expect(existsSync(join(path, 'telemetry-copy-embedded-influxdb.json'))).toBe(false)
    const back = await copy(toEmbedded, { ...settings, DATA_DIR: other })
    expect(back).toMatchObject({ code: 0, err: '' })
    expect(await contentOfFile(other)).toEqual(content)
    expect(there.out + back.out).not.toContain(influxSettings.INFLUXDB_TOKEN)
  })

  it('copies a range of one device', async () => {
    const { influx, settings } = await settingsOf(await filled())
    const until = String(began + 1500n * 1_000_000n)
    const args = [...toInflux, '--since=-2d', '--until', until, '--device', '1', '--device', '2']
    expect(await copy(args, settings)).toMatchObject({ code: 0 })
    expect([await influx.count(1), await influx.count(2), await influx.count(3)]).toEqual([1000, 500, 0])
  })

  it('leaves out readings that are older than the retention', async () => {
    const { influx, settings } = await settingsOf(await filled())
    const old = await openEmbedded({
      at: { file: join(settings.DATA_DIR, 'telemetry.db') },
      log,
      retentionMs: 0,
    })
    const time = BigInt(Date.now() - 31 * day) * 1_000_000n
    await writeEntry(old.store, {
      deviceId: 1,
      deviceType: 'sensor',
      location: null,
      receivedAt: 1,
      readings: [{ time, fields: { old: 1 }, metadata: undefined }],
    })
    await old.close()
    const { code, out } = await copy(toInflux, settings)
    expect(out).toContain('Left out 1 reading older than RETENTION_DAYS (30).')
    expect(code).toBe(0)
    expect(await influx.count(1)).toBe(1000)
  })

  it('goes on where it was killed, and has every reading once', async () => {
    const path = await filled(60)
    const { influx, settings } = await settingsOf(path)
    const file = join(path, 'telemetry-copy-embedded-influxdb.json')
    let kills = 0
    for (; kills < 2; kills += 1) {
      const { child, ended } = start(toInflux, settings)
      const before = existsSync(file) ? readFileSync(file, 'utf8') : ''
      const moved = () => existsSync(file) && /"\d+":"\d+"/.test(readFileSync(file, 'utf8'))
      while (child.exitCode === null && !(moved() && readFileSync(file, 'utf8') !== before)) await sleep(10)
      child.kill('SIGKILL')
      if ((await ended).code !== null) break
    }
    expect(kills).toBeGreaterThan(0)
    const other = await copy([...toInflux, '--since=-3d'], settings)
    expect(other).toMatchObject({ code: 1, out: '' })
    expect(other.err).toMatch(
      /^Another copy was interrupted \(.*\): repeat it with its own options, or start from the beginning/,
    )
    const last = await copy(toInflux, settings)
    expect(last).toMatchObject({ code: 0, err: '' })
    expect(last.out).toContain('Going on where the last copy was interrupted.\n')
    const copied = Number(/Copied ([\d,]+) readings/.exec(last.out)?.[1]?.replaceAll(',', ''))
    expect(copied).toBeLessThan(60_000)
    expect(await contentOf(influx)).toEqual(await contentOfFile(path))
  })

  it('ends at Ctrl-C after the readings under way, and starts from the beginning with --restart', async () => {
    const path = await filled(200)
    const { influx, settings } = await settingsOf(path)
    const { child, ended } = start(toInflux, settings)
    const file = join(path, 'telemetry-copy-embedded-influxdb.json')
    while (child.exitCode === null && !(existsSync(file) && /"\d+":"\d+"/.test(readFileSync(file, 'utf8'))))
      await sleep(10)
    child.kill('SIGINT')
    const { code, out } = await ended
    expect(out).toMatch(/Ended after [\d,]+ readings: the same command goes on from here\.\n$/)
    expect(code).toBe(1)
    const again = await copy([...toInflux, '--restart'], settings)
    expect(again).toMatchObject({ code: 0 })
    expect(again.out).toContain('Copied 200,000 readings')
    expect(again.out).not.toContain('Going on')
    expect(await contentOf(influx)).toEqual(await contentOfFile(path))
  })

  it('reads beside a running server that stores readings', async () => {
    const standalone = await startStandaloneServer({
      settings: { LOG_LEVEL: 'silent', RATE_LIMIT_TELEMETRY_PER_MINUTE: '0' },
    })
    endings.push(() => standalone.stop())
    const { influx, settings } = await settingsOf(standalone.dataDir)
    const device = await standalone.register()
    const send = async (n: number) => {
      const readings = Array.from({ length: 100 }, (_, at) => ({
        ts: Date.now() - 10_000_000 + n * 100 + at,
        values: { n },
      }))
      expect(
        (await standalone.request('POST', '/api/v1/devices/telemetry', { key: device.key, body: readings }))
          .status,
      ).toBe(201)
    }
    for (let n = 0; n < 50; n += 1) await send(n)
    const running = start(toInflux, settings)
    for (let n = 50; running.child.exitCode === null; n += 1) await send(n)
    expect(await running.ended).toMatchObject({ code: 0, err: '' })
    expect(await influx.count(device.id)).toBeGreaterThanOrEqual(5000)
    expect(await copy(toInflux, settings)).toMatchObject({ code: 0 })
    const [row] = [await standalone.stored()]
    expect(await influx.count(device.id)).toBe(row.readings)
  })

  it('copies the readings that waited for InfluxDB in the spool, too', async () => {
    const path = await newFolder()
    const at = { file: join(path, 'telemetry.db') }
    const embedded = await openEmbedded({ at, log, retentionMs: 0 })
    const readings = [{ time: began, fields: { waited: true }, metadata: { a: 'b' } }]
    const delivery = { deviceId: 4, deviceType: 'pump', location: null, receivedAt: 7, readings, rejected: 0 }
    await embedded.spool({ maxBytes: 1e9, maxAgeMs: 1e9 }).put([delivery])
    await embedded.close()
    const { influx, settings } = await settingsOf(path)
    await writeEntry(influx, {
      ...delivery,
      readings: [{ time: began + 1n, fields: { v: 1 }, metadata: undefined }],
    })
    const { code, out } = await copy(toEmbedded, settings)
    expect(out).toContain('Moved 1 reading that waited for InfluxDB in the spool.')
    expect(code).toBe(0)
    expect(Object.keys(await contentOfFile(path))).toEqual([`4 ${began}`, `4 ${began + 1n}`])
  })
})
