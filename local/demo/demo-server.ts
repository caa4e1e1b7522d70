/** The server of `npm run demo`, in a process of its own: it tells its parent where it listens, and ends with it. */
import { loadConfig } from '../../lib/config.ts'
import { startStandaloneServer } from '../standalone.ts'

/** Sent to the parent once. */
export type ServerMessage =
  | { readonly kind: 'running'; readonly httpUrl: string; readonly mqttUrl: string }
  | { readonly kind: 'failed'; readonly message: string }

const send = (message: ServerMessage) => process.send?.(message)

const run = async () => {
  // Ctrl-C reaches every process of the terminal, but the parent still reads its readings back from this one.
  process.on('SIGINT', () => undefined)
  process.on('SIGTERM', () => undefined)
  const parentGone = new Promise((resolve) => process.once('disconnect', resolve))
  const server = await startStandaloneServer(
    loadConfig({
      PORT: '0',
      MQTT_PORT: '0',
      MQTT_WS_PORT: 'none',
      MQTT_TLS_PORT: 'none',
      DATA_DIR: process.argv[2],
      LOG_LEVEL: 'warn',
    }),
  )
  send({
    kind: 'running',
    httpUrl: server.httpUrl ?? '',
    mqttUrl: `mqtt://127.0.0.1:${server.ports.mqtt}`,
  })
  await parentGone
  await server.close()
}

export const main = () =>
  run().then(
    () => process.exit(0),
    (error: unknown) => {
      send({
        kind: 'failed',
        message: error instanceof Error ? error.message : 'The server could not be started.',
      })
      process.exit(1)
    },
  )
