/** Scenarios: an orderly stop under load, a clock that is set back, and a full disk. */
import { spawnSync } from 'node:child_process'
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { freely } from './kills.ts'
import { startLoad } from './load.ts'
import { startRecorder } from './recorder.ts'
import { accountOf, judge, type Outcome, readAll, type Verdict } from './verdict.ts'

/** Stops the server with SIGTERM while all devices send. */
export async function terminate(rounds: number, progress: (text: string) => void): Promise<Verdict> {
  const folder = await temporaryFolder()
  const settings = { DATA_DIR: folder.path, ...freely }
  const recorder = await startRecorder()
  let server = await startStandaloneServer({ settings })
  try {
    recorder.pointTo(server)
    const devices = await Promise.all(Array.from({ length: 8 }, (_, n) => server.register(`term-${n}`)))
    const load = await startLoad({ recorder, http: devices.slice(0, 4), mqtt: devices.slice(4), rate: 100 })
    for (let round = 1; round <= rounds; round += 1) {
      await sleep(1000)
      const began = performance.now()
      server.kill('SIGTERM')
      const { code } = await server.ended
      const ms = Math.round(performance.now() - began)
      progress(`ended with ${code} after ${ms} ms`)
      if (code !== 0) throw new Error('SIGTERM under load did not end it well')
      server = await startStandaloneServer({ settings })
      recorder.pointTo(server)
    }
    await load.stop(20_000)
    return await judge(`${rounds} x SIGTERM`, server, devices, recorder)
  } finally {
    await server.stop()
    await recorder.close()
    await folder.remove()
  }
}

/** The clock of the server is set back one hour while devices without a clock send: no reading may overwrite another one. */
export async function clockSetBack(progress: (text: string) => void): Promise<Verdict> {
  const folder = await temporaryFolder()
  const clock = join(folder.path, 'clock.mjs')
  const ahead = join(folder.path, 'ahead')
  // A process cannot have a clock of its own. So this preload file moves Date by the offset that it reads from a file.
  await writeFile(
    clock,
    `import { readFileSync } from 'node:fs'
     const now = Date.now
     const ahead = () => Number(readFileSync(${JSON.stringify(ahead)}, 'utf8'))
     Date.now = () => now() + ahead()`,
  )
  await writeFile(ahead, '0')
  const settings = { DATA_DIR: join(folder.path, 'data'), NODE_OPTIONS: `--import=${clock}`, ...freely }
  let server = await startStandaloneServer({ settings })
  try {
    const device = await server.register('clockless')
    let sent = 0
    const acknowledged = new Set<number>()
    const overHttp = async () => {
      sent += 1
      const n = sent
      const { status } = await server.request('POST', '/api/v1/devices/telemetry', {
        key: device.key,
        body: { n },
      })
      if (status !== 201) throw new Error(`answered ${status}`)
      acknowledged.add(n)
    }
    const client = await server.mqtt(device)
    const overMqtt = async () => {
      sent += 1
      const n = sent
      await client.publishAsync(`iotflow/devices/${device.id}/telemetry`, JSON.stringify({ n }), { qos: 1 })
      acknowledged.add(n)
    }
    const send = async (count: number) => {
      for (let n = 0; n < count; n += 1) {
        await overMqtt()
        await overHttp()
      }
    }
    await send(200)
    await writeFile(ahead, '-3600000')
    await send(200)
    await client.endAsync(true)
    await server.stop()
    server = await startStandaloneServer({ settings })
    for (let n = 0; n < 100; n += 1) await overHttp()
    const account = await accountOf(server)
    const found = (await readAll(server, device)).map(([, values]) => values.n ?? Number.NaN)
    const there = new Set(found)
    progress(`${there.size} readings of ${sent} are there`)
    return {
      scenario: 'clock set back an hour',
      sent,
      acknowledged: acknowledged.size,
      stored: found.length,
      queued: account.spooled,
      rejected: account.rejected,
      duplicates: found.length - there.size,
      lost: [...acknowledged].filter((n) => !there.has(n)).length,
      lostByBroker: 0,
      invented: [...there].filter((n) => !(n >= 1 && n <= sent)).length,
      imbalance: account.imbalance,
      failures:
        account.stored === found.length
          ? []
          : [`the account says ${account.stored} readings stored, ${found.length} were found`],
    }
  } finally {
    await server.stop()
    await folder.remove()
  }
}

/** Another program fills the small file system of the server, then frees it. Needs the right to mount a file system. */
export async function diskFull(progress: (text: string) => void): Promise<Outcome> {
  const folder = await temporaryFolder()
  const disk = join(folder.path, 'disk')
  await mkdir(disk)
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', disk]).status === 0
  if (!mounted) {
    await folder.remove()
    progress('LEFT OUT: only root can mount a file system')
    return { scenario: 'disk full', needs: 'mount' }
  }
  const recorder = await startRecorder()
  const settings = { ...freely, DATA_DIR: join(disk, 'data'), LOG_LEVEL: 'silent' }
  const server = await startStandaloneServer({ settings })
  try {
    recorder.pointTo(server)
    const devices = await Promise.all(Array.from({ length: 8 }, (_, n) => server.register(`disk-${n}`)))
    const load = await startLoad({ recorder, http: devices.slice(0, 4), mqtt: devices.slice(4), rate: 100 })
    await sleep(1000)
    const filler = join(disk, 'filler')
    const { bavail, bsize } = await statfs(disk)
    await writeFile(filler, Buffer.alloc(bavail * bsize)).catch(() => undefined)
    const refused = () => recorder.answers.get(503) ?? 0
    for (let tenths = 0; refused() < 50 && tenths < 200; tenths += 1) await sleep(100)
    progress(`full: ${refused()} x 503 over HTTP`)
    if (refused() === 0) throw new Error('the disk was never full')
    const { status } = await server.request('GET', '/health')
    if (status !== 503) throw new Error(`/health answered ${status} while the disk was full`)
    await rm(filler)
    const freed = performance.now()
    const before = recorder.answers.get(201) ?? 0
    while ((recorder.answers.get(201) ?? 0) === before) await sleep(10)
    progress(`accepted again ${Math.round(performance.now() - freed)} ms after there was room`)
    await sleep(1000)
    await load.stop(20_000)
    return await judge('disk full', server, devices, recorder)
  } finally {
    await server.stop()
    await recorder.close()
    spawnSync('umount', ['-l', disk])
    await folder.remove()
  }
}
