/** The layer of `npm run demo`, in a process of its own: says where it listens, and ends with its parent. */
import { loadConfig } from '../lib/config.ts'
import { startMachine } from './machine.ts'

/** What the parent is told. */
export type LayerMessage =
  | { readonly kind: 'running'; readonly httpUrl: string; readonly mqttUrl: string }
  | { readonly kind: 'failed'; readonly message: string }

const tell = (message: LayerMessage) => process.send?.(message)

const main = async () => {
  // Ctrl-C reaches every process of the terminal; this one is still needed to read back what was sent.
  process.on('SIGINT', () => undefined)
  process.on('SIGTERM', () => undefined)
  const parentGone = new Promise((resolve) => process.once('disconnect', resolve))
  const machine = await startMachine(
    loadConfig({
      PORT: '0',
      MQTT_PORT: '0',
      MQTT_WS_PORT: 'none',
      MQTT_TLS_PORT: 'none',
      DATA_DIR: process.argv[2],
      LOG_LEVEL: 'warn',
    }),
  )
  tell({
    kind: 'running',
    httpUrl: machine.httpUrl ?? '',
    mqttUrl: `mqtt://127.0.0.1:${machine.ports.mqtt}`,
  })
  await parentGone
  await machine.close()
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    tell({
      kind: 'failed',
      message: error instanceof Error ? error.message : 'The layer could not be started.',
    })
    process.exit(1)
  },
)
