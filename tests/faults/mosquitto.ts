/** Scenarios with Mosquitto: the server is killed while devices keep sending, and Mosquitto itself is killed. */
import { setTimeout as sleep } from 'node:timers/promises'
import { hasMosquitto, startMosquitto } from '../support/mosquitto.ts'
import { startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { until } from '../support/waiting.ts'
import { freely } from './kills.ts'
import { startLoad } from './load.ts'
import { countOf, startRecorder } from './recorder.ts'
import type { Size } from './scenarios.ts'
import { accountOf, judge, type Outcome, type Verdict } from './verdict.ts'

type Victim = 'server' | 'broker'

/**
 * Time that Mosquitto with its setting `safe` may take to save what it acknowledged, ms: it acknowledges first. What it
 * acknowledged in this time before a kill may be lost.
 */
const saveMs = 2000

/** Ten devices publish 200 messages a second in total, each with a time of its own. */
async function killed(
  victim: Victim,
  saving: 'fast' | 'safe',
  rounds: number,
  progress: (text: string) => void,
): Promise<Verdict> {
  const folder = await temporaryFolder()
  const broker = await startMosquitto({ saving })
  const settings = {
    ...freely,
    LOG_LEVEL: 'silent',
    DATA_DIR: folder.path,
    MQTT_URL: broker.serverLogin.url,
    MQTT_USERNAME: broker.serverLogin.username,
    MQTT_PASSWORD: broker.serverLogin.password,
  }
  const recorder = await startRecorder()
  let server = await startStandaloneServer({ settings })
  const brokerKills: { readonly from: number; readonly to: number }[] = []
  const where = () => ({ httpUrl: server.httpUrl, mqttUrl: broker.url })
  try {
    recorder.pointTo(where())
    const devices = await Promise.all(Array.from({ length: 10 }, (_, n) => server.register(`bridge-${n}`)))
    const began = performance.now()
    const load = await startLoad({ recorder, http: [], mqtt: devices, rate: 20 })
    for (let round = 1; round <= rounds; round += 1) {
      await sleep(500 + Math.random() * 1000)
      if (victim === 'server') {
        server.kill('SIGKILL')
        await server.ended
        // Devices keep sending: the broker stores their messages.
        await sleep(500)
        server = await startStandaloneServer({ settings })
        recorder.pointTo(where())
      } else {
        const from = performance.now() - saveMs
        await broker.kill()
        await broker.start()
        brokerKills.push({ from, to: performance.now() })
      }
      progress(`${victim} killed, ${round} of ${rounds}`)
    }
    await sleep(500)
    await load.stop(20_000)
    const rate = countOf(recorder.acknowledged) / ((performance.now() - began) / 1000)
    const isConnected = async () => {
      const { body } = await server.request('GET', '/api/v1/mqtt/status')
      return body?.broker_info?.connected === true
    }
    await until(isConnected, 'the server is connected to the broker', 100)
    // The bridge connects again and gets the messages that the broker stored.
    let stored = -1
    for (let same = 0; same < 5; ) {
      await sleep(1000)
      const now = (await accountOf(server)).stored
      same = now === stored ? same + 1 : 0
      stored = now
    }
    progress(`${saving}: ${Math.round(rate)} messages a second acknowledged`)
    const name = victim === 'server' ? 'bridge' : `Mosquitto (${saving})`
    const verdict = await judge(`${rounds} x SIGKILL of ${name}`, server, devices, recorder, {
      redelivered: true,
      // With `fast` it forgets the session of the bridge, too: messages are lost until the bridge has connected again.
      isLostByBroker: (at) =>
        brokerKills.some(({ from, to }) => saving === 'fast' || (at >= from && at <= to)),
    })
    if (victim === 'server') return verdict
    return { ...verdict, scenario: `${verdict.scenario}, ${verdict.lostByBroker} lost by it` }
  } finally {
    await server.stop()
    await recorder.close()
    await broker.end()
    await folder.remove()
  }
}

/** A killed Mosquitto may lose messages that it had not saved. The scenario reports their number; it is no fault of the server. */
export async function mosquitto(size: Size, progress: (text: string) => void): Promise<Outcome[]> {
  if (!hasMosquitto) {
    progress('LEFT OUT: there is no mosquitto: apt-get install mosquitto')
    return [{ scenario: 'SIGKILL with a Mosquitto', needs: 'mosquitto' }]
  }
  return [
    await killed('server', 'fast', size.bridgeKills, progress),
    await killed('broker', 'fast', size.brokerKills, progress),
    await killed('broker', 'safe', size.brokerKills, progress),
  ]
}
