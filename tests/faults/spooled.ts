/** Scenario: kills the server with SIGKILL while readings wait in the spool, because InfluxDB is unavailable. */
import { setTimeout as sleep } from 'node:timers/promises'
import { startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { openGate } from './influx-gate.ts'
import { freely } from './kills.ts'
import { startLoad } from './load.ts'
import { startRecorder } from './recorder.ts'
import { accountOf, drained, judge, type Verdict } from './verdict.ts'

const { INFLUXDB_URL, INFLUXDB_TOKEN, INFLUXDB_ORG } = process.env

export async function spooledKill(rounds: number, progress: (text: string) => void): Promise<Verdict> {
  const folder = await temporaryFolder()
  const gate = await openGate(INFLUXDB_URL)
  const settings = {
    ...freely,
    LOG_LEVEL: 'silent',
    DATA_DIR: folder.path,
    INFLUXDB_URL: gate.url,
    INFLUXDB_TOKEN: INFLUXDB_TOKEN ?? 'a-token-of-the-tests',
    INFLUXDB_ORG: INFLUXDB_ORG ?? 'iotflow',
    INFLUXDB_BUCKET: `faults-${process.pid}-spooled`,
  }
  const recorder = await startRecorder()
  let server = await startStandaloneServer({ settings })
  try {
    recorder.pointTo(server)
    const devices = await Promise.all(Array.from({ length: 8 }, (_, n) => server.register(`spooled-${n}`)))
    const load = await startLoad({ recorder, http: devices.slice(0, 4), mqtt: devices.slice(4), rate: 20 })
    for (let round = 1; round <= rounds; round += 1) {
      await sleep(500)
      await gate.set('refusing')
      await sleep(1000 + Math.random() * 1000)
      const { depth } = await accountOf(server)
      if (depth === 0) throw new Error('the spool was empty')
      server.kill('SIGKILL')
      await server.ended
      server = await startStandaloneServer({ settings })
      recorder.pointTo(server)
      const kept = (await accountOf(server)).depth
      await gate.set('well')
      const seconds = await drained(server, 60_000)
      progress(
        `kill ${round} of ${rounds}: ${depth} in the spool before, ${kept} after it, empty after ${seconds.toFixed(1)} s`,
      )
    }
    await load.stop(20_000)
    await drained(server, 60_000)
    const found = new Map([...gate.points].map(([device, points]) => [device, [...points]]))
    return await judge(`${rounds} x SIGKILL, spool not empty`, server, devices, recorder, {
      found: INFLUXDB_URL === undefined ? found : undefined,
    })
  } finally {
    await server.stop()
    await recorder.close()
    await gate.close()
    await folder.remove()
  }
}
