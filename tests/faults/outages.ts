/** InfluxDB away in every way there is, under a steady load, and back again. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Device, startMachine } from '../support/machine.ts'
import { type Gate, type Mode, openGate } from './influx-gate.ts'
import { freely } from './kills.ts'
import { startLoad } from './load.ts'
import { startRecorder } from './recorder.ts'
import type { Size } from './scenarios.ts'
import { drained, judge, type Verdict } from './verdict.ts'

const modes: readonly Mode[] = ['refusing', 'hanging', '503', '429']

const { INFLUXDB_URL, INFLUXDB_TOKEN, INFLUXDB_ORG } = process.env

const at = (sorted: readonly number[], share: number) =>
  Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0)
const spread = (sorted: readonly number[]) => `p50 ${at(sorted, 0.5)} ms, p99 ${at(sorted, 0.99)} ms`
const mb = (bytes: number) => Math.round(bytes / 1e6)

/** How often points of these devices were taken out of the order of their times, in which they were sent. */
const disorder = (gate: Gate, devices: readonly Device[]): number => {
  let count = 0
  for (const { id } of devices) {
    const points = gate.points.get(id) ?? new Map<string, unknown>()
    let before = 0n
    for (const time of points.keys()) {
      if (BigInt(time) < before) count += 1
      before = BigInt(time)
    }
  }
  return count
}

/** One outage of one kind. Devices send one after the other, so that the order of their readings is that of their times. */
async function outage(mode: Mode, size: Size, progress: (text: string) => void): Promise<Verdict> {
  const gate = await openGate(INFLUXDB_URL)
  const recorder = await startRecorder()
  const machine = await startMachine({
    settings: {
      ...freely,
      LOG_LEVEL: 'silent',
      INFLUXDB_URL: gate.url,
      INFLUXDB_TOKEN: INFLUXDB_TOKEN ?? 'a-token-of-the-tests',
      INFLUXDB_ORG: INFLUXDB_ORG ?? 'iotflow',
      INFLUXDB_BUCKET: `faults-${process.pid}-${mode}`,
    },
  })
  try {
    recorder.pointTo(machine)
    const devices = await Promise.all(Array.from({ length: 10 }, (_, n) => machine.register(`outage-${n}`)))
    // Half of the readings come over HTTP, ten to a message.
    const load = await startLoad({
      recorder,
      http: devices.slice(0, 5),
      mqtt: devices.slice(5),
      rate: size.rate / 10,
    })
    await sleep(2000)
    load.latencies()
    await sleep(2000)
    progress(`${mode}: before ${spread(load.latencies())}, ${mb(machine.rss())} MB`)
    const before = machine.rss()
    let most = before
    await gate.set(mode)
    for (let second = 0; second < size.outageS; second += 1) {
      await sleep(1000)
      most = Math.max(most, machine.rss())
    }
    progress(`${mode}: away  ${spread(load.latencies())}, resident memory +${mb(most - before)} MB at most`)
    await gate.set('well')
    const back = performance.now()
    // Live traffic goes on while the spool is emptied.
    await sleep(1500)
    const draining = spread(load.latencies())
    await load.stop(20_000)
    await drained(machine, 120_000)
    most = Math.max(most, machine.rss())
    progress(
      `${mode}: drain ${draining}, empty after ${((performance.now() - back) / 1000).toFixed(1)} s, ` +
        `resident memory +${mb(most - before)} MB at most, ${disorder(gate, devices.slice(5))} points over MQTT out of order`,
    )
    const codes = [...recorder.answers].map(([status, count]) => `${count} x ${status}`).join(', ')
    progress(`${mode}: HTTP answers ${codes}`)
    const found = new Map([...gate.points].map(([device, points]) => [device, [...points]]))
    return await judge(
      `InfluxDB ${mode} for ${size.outageS} s`,
      machine,
      devices,
      recorder,
      INFLUXDB_URL === undefined ? found : undefined,
    )
  } finally {
    await machine.stop()
    await recorder.close()
    await gate.close()
  }
}

export async function outages(size: Size, progress: (text: string) => void): Promise<Verdict[]> {
  const verdicts: Verdict[] = []
  for (const mode of modes) verdicts.push(await outage(mode, size, progress))
  return verdicts
}
