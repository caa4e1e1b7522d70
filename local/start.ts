/** `npm start`: runs the standalone server until a signal ends it. */
import { type Config, loadConfig, loadEnvFile } from '../lib/config.ts'
import { version } from '../lib/version.ts'
import { asksForHelp, exitCodeOf, parseOptions } from '../scripts/command.ts'
import { type StandaloneServer, startStandaloneServer } from './standalone.ts'

/** The server ends within 5 s of a signal: this timer ends the process when closing hangs, ms. */
const endAfterMs = 4800
/** Two signals within this time are one Ctrl-C: the terminal sends it, and npm sends it again, ms. */
const sameSignalMs = 500

const help = `IoTFlow ${version}: an IoT backend in one process.

  npm start            runs it; settings come from the environment and from .env
  npm start -- --help  prints this help

PORT, MQTT_PORT and MQTT_WS_PORT choose the ports: 0 picks a free one, none switches it off.
DATA_DIR is the folder of all data. .env.example explains every setting.
`

const fail = (message: string, exitCode = 1): never => {
  process.stderr.write(`${message}\n`)
  process.exit(exitCode)
}

/** The link signs in by a code that is valid once: only a terminal gets it, standard output is often a log file. */
const dashboardLink = ({ httpUrl, makeSessionCode }: StandaloneServer): string => {
  const code = process.stdout.isTTY ? makeSessionCode() : undefined
  return code === undefined ? `${httpUrl}/` : `${httpUrl}/#code=${code}`
}

const printBanner = (server: StandaloneServer, { host, dataDir, mqtt }: Config) => {
  const { httpUrl, ports, adminToken } = server
  const shown = host.includes(':') ? `[${host}]` : host
  const line = (name: string, text: string) => `  ${name.padEnd(10)} ${text}\n`
  let text = `IoTFlow ${version} is running.\n\n`
  if (httpUrl) text += line('HTTP', httpUrl) + line('Dashboard:', dashboardLink(server))
  if (ports.mqtt !== undefined) text += line('MQTT', `mqtt://${shown}:${ports.mqtt}`)
  if (ports.mqttWs !== undefined) text += line('WebSocket', `ws://${shown}:${ports.mqttWs}`)
  if (ports.mqttTls !== undefined) text += line('MQTT, TLS', `mqtts://${shown}:${ports.mqttTls}`)
  if (typeof mqtt === 'object') text += line('MQTT', `${mqtt.url}, the broker of MQTT_URL`)
  text += line('data', dataDir)
  if (adminToken) {
    // Standard output is often a log file when it is no terminal: the token is not written there.
    const toTerminal = process.stdout.isTTY && adminToken.created
    text += line(
      'admin',
      toTerminal ? `${adminToken.token} (kept in ${adminToken.file})` : `the token is in ${adminToken.file}`,
    )
  }
  if (httpUrl) {
    text += `\nTry it:\n  curl -X POST ${httpUrl}/api/v1/devices/register \\\n    -H 'Content-Type: application/json' -d '{"name":"my-first-device","device_type":"sensor"}'\n`
  }
  process.stdout.write(`${text}\nCtrl-C ends it.\n`)
}

/** Ends the process when it is told to: in good order at the first signal, at once at the second. */
const endOnSignal = (server: StandaloneServer) => {
  let endingSince: number | undefined
  const end = (signal: NodeJS.Signals) => {
    if (endingSince !== undefined) {
      if (performance.now() - endingSince > sameSignalMs) process.exit(signal === 'SIGINT' ? 130 : 143)
      return
    }
    endingSince = performance.now()
    setTimeout(() => fail('The server did not end in time and was stopped.'), endAfterMs).unref()
    server.close().then(
      () => process.exit(0),
      () => fail('The server ended without writing all readings that it had accepted.'),
    )
  }
  process.on('SIGINT', end)
  process.on('SIGTERM', end)
}

const start = async () => {
  loadEnvFile('.env')
  const config = loadConfig()
  const server = await startStandaloneServer(config)
  if (!config.loopback && config.tls === undefined) {
    process.stderr.write(
      `Warning: HOST ${config.host} is reachable from other machines and there is no TLS: keys travel in clear. Set TLS_CERT and TLS_KEY.\n`,
    )
  }
  endOnSignal(server)
  printBanner(server, config)
}

export const main = async () => {
  if (asksForHelp(process.argv.slice(2))) {
    process.stdout.write(help)
    return
  }
  try {
    parseOptions({ options: {} })
    await start()
  } catch (error) {
    // process.exit(): whatever the failed start has opened must not keep the process alive.
    fail(error instanceof Error ? error.message : 'The server could not be started.', exitCodeOf(error))
  }
}
