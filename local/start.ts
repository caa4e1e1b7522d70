/** `npm start`: runs the standalone server until a signal ends it. */
import { type Config, loadConfig, loadEnvFile } from '../lib/config.ts'
import { version } from '../lib/version.ts'
import { asksForHelp, exitCodeOf, parseOptions } from '../scripts/command.ts'
import type { AdminToken } from './admin-token.ts'
import { showsWarningsOnly } from './log-at-terminal.ts'
import { logFile } from './log-file.ts'
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
const dashboardLines = ({ httpUrl, makeSessionCode }: StandaloneServer): string => {
  const code = process.stdout.isTTY ? makeSessionCode() : undefined
  if (code === undefined) return line('Dashboard', `${httpUrl}/`)
  return `${line('', 'This link signs in. It is valid once, for 5 minutes:')}${line('Dashboard', `${httpUrl}/#code=${code}`)}`
}

const line = (name: string, text: string) => `  ${name.padEnd(10)} ${text}\n`

/** Standard output is often a log file when it is no terminal: the token is not written there. */
const tokenText = ({ token, file, created }: AdminToken) =>
  process.stdout.isTTY && created ? `${token} (kept in ${file})` : `the token is in ${file}`

/** The link to the dashboard comes last: it is what a new user needs, and lines before it may be many. */
const printBanner = (server: StandaloneServer, config: Config) => {
  const { httpUrl, ports, adminToken } = server
  const { host, dataDir, mqtt } = config
  const shown = host.includes(':') ? `[${host}]` : host
  let text = `IoTFlow ${version} is running.\n\n`
  if (httpUrl) text += line('HTTP', httpUrl)
  if (ports.mqtt !== undefined) text += line('MQTT', `mqtt://${shown}:${ports.mqtt}`)
  if (ports.mqttWs !== undefined) text += line('WebSocket', `ws://${shown}:${ports.mqttWs}`)
  if (ports.mqttTls !== undefined) text += line('MQTT, TLS', `mqtts://${shown}:${ports.mqttTls}`)
  if (typeof mqtt === 'object') text += line('MQTT', `${mqtt.url}, the broker of MQTT_URL`)
  text += line('Data', dataDir)
  if (showsWarningsOnly(config)) text += line('Log', `${logFile(dataDir)}; here only warnings and errors`)
  if (adminToken) text += line('Admin', tokenText(adminToken))
  if (httpUrl)
    text += `\nTry it:\n  curl -X POST ${httpUrl}/api/v1/devices/register \\\n    -H 'Content-Type: application/json' -d '{"name":"my-first-device","device_type":"sensor"}'\n`
  text += '\nCtrl-C ends it.\n'
  if (httpUrl) text += `\n${dashboardLines(server)}`
  process.stdout.write(text)
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
      () => {
        if (process.stdout.isTTY) process.stdout.write('\nStopped; everything is on the disk.\n')
        process.exit(0)
      },
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
