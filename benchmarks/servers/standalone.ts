/**
 * The standalone server of `npm start`, with limits that count every request and that no load reaches. Its arguments: the data folder,
 * then settings such as `RETENTION_DAYS=0`.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { loadConfig } from '../../lib/config.ts'
import { startStandaloneServer } from '../../local/standalone.ts'
import { serve } from '../process.ts'

export interface StandaloneFacts {
  readonly httpPort: number
  readonly mqttPort: number
}

/** @returns what this process holds after the garbage is collected, bytes. */
const memory = (): NodeJS.MemoryUsage => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage()
}

const outOfReach = '100000000'

serve(async () => {
  const server = await startStandaloneServer(
    loadConfig({
      PORT: '0',
      MQTT_PORT: '0',
      MQTT_WS_PORT: 'none',
      MQTT_TLS_PORT: 'none',
      DATA_DIR: process.argv[2],
      RATE_LIMIT_PER_MINUTE: outOfReach,
      RATE_LIMIT_TELEMETRY_PER_MINUTE: outOfReach,
      RATE_LIMIT_REGISTER_PER_5_MINUTES: outOfReach,
      RATE_LIMIT_IP_PER_MINUTE: outOfReach,
      ...Object.fromEntries(process.argv.slice(3).map((setting) => setting.split('='))),
    }),
  )
  const facts: StandaloneFacts = { httpPort: server.ports.http ?? 0, mqttPort: server.ports.mqtt ?? 0 }
  const ask = async (question: string) => (question === 'memory' ? memory() : undefined)
  return { facts, ask, end: () => server.close() }
})
