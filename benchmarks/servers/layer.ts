/** The whole layer as `npm start` runs it, with limits that count every request and that no load reaches. */
import { loadConfig } from '../../lib/config.ts'
import { startMachine } from '../../local/machine.ts'
import { serve } from '../process.ts'

export interface LayerFacts {
  readonly httpPort: number
  readonly mqttPort: number
}

const outOfReach = '100000000'

serve(async () => {
  const machine = await startMachine(
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
    }),
  )
  const facts: LayerFacts = { httpPort: machine.ports.http ?? 0, mqttPort: machine.ports.mqtt ?? 0 }
  return { facts, end: () => machine.close() }
})
