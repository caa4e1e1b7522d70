/** Scenarios: InfluxDB fails in different ways under a steady load, and recovers. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { at, maxGrowth, mb, spread, watchMemory, withSmallHeap } from './figures.ts'
import { type Gate, type Mode, openGate } from './influx-gate.ts'
import { freely } from './kills.ts'
import { type Load, startLoad } from './load.ts'
import { countOf, startRecorder } from './recorder.ts'
import type { Size } from './scenarios.ts'
import { accountOf, drained, judge, type Verdict } from './verdict.ts'

const modes: readonly Mode[] = ['refusing', 'hanging', '503', '429']

const { INFLUXDB_URL, INFLUXDB_TOKEN, INFLUXDB_ORG } = process.env

/** The share of the wanted rate that must be reached, so that the outage happens under load. */
const leastShare = 0.8
/** Answers while the spool is emptied may take twice as long as before, plus this margin for a busy machine, ms. */
const marginMs = 50

/** Counts points of these devices that InfluxDB got out of order: devices send in the order of their times. */
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

/** The answer times of live traffic while the spool is emptied. */
async function whileDraining(server: StandaloneServer, load: Load): Promise<number[]> {
  const until = performance.now() + 60_000
  const depthNow = async () => {
    await sleep(50)
    return (await accountOf(server)).depth
  }
  let most = 0
  let depth = await depthNow()
  while (depth >= most && performance.now() < until) {
    most = depth
    depth = await depthNow()
  }
  load.latencies()
  // Wait at least a second to get enough answers.
  const enough = performance.now() + 1000
  while ((depth > most / 10 && performance.now() < until) || performance.now() < enough)
    depth = await depthNow()
  return load.latencies()
}

/** One outage of one kind. Each device sends one message at a time, so that its readings arrive in the order of their times. */
async function outage(mode: Mode, size: Size, progress: (text: string) => void): Promise<Verdict> {
  const gate = await openGate(INFLUXDB_URL)
  const recorder = await startRecorder()
  const server = await startStandaloneServer({
    settings: {
      ...freely,
      ...withSmallHeap,
      LOG_LEVEL: 'silent',
      INFLUXDB_URL: gate.url,
      INFLUXDB_TOKEN: INFLUXDB_TOKEN ?? 'a-token-of-the-tests',
      INFLUXDB_ORG: INFLUXDB_ORG ?? 'iotflow',
      INFLUXDB_BUCKET: `faults-${process.pid}-${mode}`,
    },
  })
  try {
    recorder.pointTo(server)
    const devices = await Promise.all(Array.from({ length: 10 }, (_, n) => server.register(`outage-${n}`)))
    // Half of the readings come over HTTP, ten in a message.
    const load = await startLoad({
      recorder,
      http: devices.slice(0, 5),
      mqtt: devices.slice(5),
      rate: size.rate / 10,
      batch: 10,
    })
    await sleep(2000)
    load.latencies()
    const [began, counted] = [performance.now(), countOf(recorder.acknowledged)]
    await sleep(2000)
    const before = load.latencies()
    progress(`${mode}: before ${spread(before)}, ${mb(server.rss())} MB`)
    const memory = watchMemory(server)
    await gate.set(mode)
    await sleep(size.outageS * 1000)
    progress(
      `${mode}: outage ${spread(load.latencies())}, resident memory +${mb(memory.growth())} MB at most`,
    )
    await gate.set('well')
    const back = performance.now()
    const draining = await whileDraining(server, load)
    const rate = (countOf(recorder.acknowledged) - counted) / ((performance.now() - began) / 1000)
    await load.stop(20_000)
    await drained(server, 120_000)
    memory.stop()
    progress(
      `${mode}: drain ${spread(draining)}, empty after ${((performance.now() - back) / 1000).toFixed(1)} s, ` +
        `resident memory +${mb(memory.growth())} MB at most`,
    )
    const codes = [...recorder.answers].map(([status, count]) => `${count} x ${status}`).join(', ')
    progress(`${mode}: ${Math.round(rate)} of ${size.rate} readings/s acknowledged, HTTP answers ${codes}`)

    const failures: string[] = []
    if (size.judgesSpeed && rate < leastShare * size.rate)
      failures.push(`${Math.round(rate)} readings/s were acknowledged, asked for were ${size.rate}`)
    if (memory.growth() > maxGrowth)
      failures.push(`resident memory grew by ${mb(memory.growth())} MB, the limit is ${mb(maxGrowth)} MB`)
    // Without answers there is no median, and the comparison is false.
    if (size.judgesSpeed && !(at(draining, 0.5) <= 2 * at(before, 0.5) + marginMs))
      failures.push(`answers took ${spread(draining)} while the spool was emptied, ${spread(before)} before`)
    const found = new Map([...gate.points].map(([device, points]) => [device, [...points]]))
    const verdict = await judge(`InfluxDB ${mode} for ${size.outageS} s`, server, devices, recorder, {
      found: INFLUXDB_URL === undefined ? found : undefined,
      failures,
    })
    return { ...verdict, disorder: disorder(gate, devices.slice(5)) }
  } finally {
    await server.stop()
    await recorder.close()
    await gate.close()
  }
}

export async function outages(size: Size, progress: (text: string) => void): Promise<Verdict[]> {
  const verdicts: Verdict[] = []
  for (const mode of modes) verdicts.push(await outage(mode, size, progress))
  return verdicts
}
