/** Scenario: kills the server with SIGKILL at random moments, many times, under load over HTTP and MQTT. */
import { setTimeout as sleep } from 'node:timers/promises'
import { startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { startLoad } from './load.ts'
import { startRecorder } from './recorder.ts'
import { judge, type Verdict } from './verdict.ts'

export const freely = {
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
  RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
  RATE_LIMIT_IP_PER_MINUTE: '0',
  LOG_LEVEL: 'warn',
} as const

export async function killAgainAndAgain(rounds: number, progress: (text: string) => void): Promise<Verdict> {
  const folder = await temporaryFolder()
  const settings = { DATA_DIR: folder.path, ...freely }
  const recorder = await startRecorder()
  let server = await startStandaloneServer({ settings })
  try {
    recorder.pointTo(server)
    const devices = await Promise.all(Array.from({ length: 8 }, (_, n) => server.register(`kill-${n}`)))
    const load = await startLoad({
      recorder,
      http: devices.slice(0, 4),
      mqtt: devices.slice(4),
      rate: 50,
    })
    for (let round = 1; round <= rounds; round += 1) {
      await sleep(100 + Math.random() * 1200)
      server.kill('SIGKILL')
      await server.ended
      server = await startStandaloneServer({ settings })
      recorder.pointTo(server)
      progress(`kill ${round} of ${rounds}`)
    }
    await sleep(500)
    await load.stop(20_000)
    return await judge(`${rounds} x SIGKILL`, server, devices, recorder)
  } finally {
    await server.stop()
    await recorder.close()
    await folder.remove()
  }
}
