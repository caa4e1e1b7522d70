/** With a Mosquitto: the layer killed while its devices go on, and Mosquitto itself killed. */
import { setTimeout as sleep } from 'node:timers/promises'
import { startMachine } from '../support/machine.ts'
import { hasMosquitto, startMosquitto } from '../support/mosquitto.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { freely } from './kills.ts'
import { startLoad } from './load.ts'
import { countOf, startRecorder } from './recorder.ts'
import type { Size } from './scenarios.ts'
import { accountOf, judge, type Outcome, type Verdict } from './verdict.ts'

type Victim = 'layer' | 'broker'

/** Ten devices publish 200 messages a second in all, with times of their own. */
async function killed(
  victim: Victim,
  crash: 'fast' | 'safe',
  rounds: number,
  progress: (text: string) => void,
): Promise<Verdict> {
  const folder = await temporaryFolder()
  const broker = await startMosquitto({ crash })
  const settings = {
    ...freely,
    LOG_LEVEL: 'silent',
    DATA_DIR: folder.path,
    MQTT_URL: broker.layer.url,
    MQTT_USERNAME: broker.layer.username,
    MQTT_PASSWORD: broker.layer.password,
  }
  const recorder = await startRecorder()
  let machine = await startMachine({ settings })
  const where = () => ({ httpUrl: machine.httpUrl, mqttUrl: broker.url })
  try {
    recorder.pointTo(where())
    const devices = await Promise.all(Array.from({ length: 10 }, (_, n) => machine.register(`bridge-${n}`)))
    const began = performance.now()
    const load = await startLoad({ recorder, http: [], mqtt: devices, rate: 20 })
    for (let round = 1; round <= rounds; round += 1) {
      await sleep(500 + Math.random() * 1000)
      if (victim === 'layer') {
        machine.kill('SIGKILL')
        await machine.ended
        // Devices go on meanwhile: the broker keeps what they send.
        await sleep(500)
        machine = await startMachine({ settings })
        recorder.pointTo(where())
      } else {
        await broker.kill()
        await broker.start()
      }
      progress(`${victim} killed, ${round} of ${rounds}`)
    }
    await sleep(500)
    await load.stop(20_000)
    const rate = countOf(recorder.acknowledged) / ((performance.now() - began) / 1000)
    // The bridge comes back, and gets what the broker kept for it.
    let stored = -1
    for (let same = 0; same < 5; ) {
      await sleep(1000)
      const now = (await accountOf(machine)).stored
      same = now === stored ? same + 1 : 0
      stored = now
    }
    progress(`${crash}: ${Math.round(rate)} messages a second acknowledged`)
    const name = victim === 'layer' ? 'bridge' : `Mosquitto (${crash})`
    return await judge(`${rounds} x SIGKILL of ${name}`, machine, devices, recorder, { redelivered: true })
  } finally {
    await machine.stop()
    await recorder.close()
    await broker.end()
    await folder.remove()
  }
}

/** Killing Mosquitto under its fast setting may cost messages; what it costs is said, and is no fault of the layer. */
export async function mosquitto(size: Size, progress: (text: string) => void): Promise<Outcome[]> {
  if (!hasMosquitto) {
    progress('LEFT OUT: there is no mosquitto: apt-get install mosquitto')
    return [{ scenario: 'SIGKILL with a Mosquitto', needs: 'mosquitto' }]
  }
  const fast = await killed('broker', 'fast', size.brokerKills, progress)
  progress(`fast: ${fast.lost} of ${fast.acknowledged} acknowledged messages lost with Mosquitto itself`)
  return [
    await killed('layer', 'fast', size.bridgeKills, progress),
    { ...fast, scenario: `${fast.scenario}, ${fast.lost} lost by it`, lost: 0 },
    await killed('broker', 'safe', size.brokerKills, progress),
  ]
}
