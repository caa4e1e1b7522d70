/** `npm start`: the layer on this machine, until it is told to end. */
import { type Config, ConfigError, loadConfig, loadEnvFile } from '../lib/config.ts'
import { version } from '../lib/version.ts'
import { type Machine, startMachine } from './machine.ts'

/** The layer ends within 5 s of being told to; this is the last resort. */
const endAfterMs = 4800
/** Ctrl-C under npm arrives twice: from the terminal, and forwarded by npm. */
const sameSignalMs = 500

const help = `IoTFlow ${version}: an IoT backend in one process.

  npm start            runs it; settings come from the environment and from .env
  npm start -- --help  shows this

PORT, MQTT_PORT and MQTT_WS_PORT choose the ports (0 picks a free one, none leaves it out),
DATA_DIR where everything is kept. Every setting is explained in .env.example.
`

const fail = (message: string): never => {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}

const banner = ({ httpUrl, ports, adminToken }: Machine, { host, dataDir, mqtt }: Config) => {
  const shown = host.includes(':') ? `[${host}]` : host
  const line = (name: string, text: string) => `  ${name.padEnd(10)} ${text}\n`
  let text = `IoTFlow ${version} is running.\n\n`
  if (httpUrl) text += line('HTTP', httpUrl)
  if (ports.mqtt !== undefined) text += line('MQTT', `mqtt://${shown}:${ports.mqtt}`)
  if (ports.mqttWs !== undefined) text += line('WebSocket', `ws://${shown}:${ports.mqttWs}`)
  if (ports.mqttTls !== undefined) text += line('MQTT, TLS', `mqtts://${shown}:${ports.mqttTls}`)
  if (typeof mqtt === 'object') text += line('MQTT', `${mqtt.url}, the broker of MQTT_URL`)
  text += line('data', dataDir)
  if (adminToken) {
    // Standard output that is no terminal is often a log file, and a secret does not belong there.
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

const main = async () => {
  if (process.argv.slice(2).some((argument) => argument === '--help' || argument === '-h')) {
    process.stdout.write(help)
    return
  }
  loadEnvFile('.env')
  const config = loadConfig()
  const machine = await startMachine(config)
  if (!config.loopback && config.tls === undefined) {
    process.stderr.write(
      `Warning: HOST ${config.host} is reachable from other machines and there is no TLS: keys travel in clear. Set TLS_CERT and TLS_KEY.\n`,
    )
  }

  let endingSince: number | undefined
  const end = (signal: NodeJS.Signals) => {
    if (endingSince !== undefined) {
      // Who asks a second time does not want to wait.
      if (performance.now() - endingSince > sameSignalMs) process.exit(signal === 'SIGINT' ? 130 : 143)
      return
    }
    endingSince = performance.now()
    setTimeout(() => fail('The layer did not end in time and was cut off.'), endAfterMs).unref()
    machine.close().then(
      () => process.exit(0),
      () => fail('The layer could not write everything before its end.'),
    )
  }
  process.on('SIGINT', end)
  process.on('SIGTERM', end)
  banner(machine, config)
}

main().catch((error: unknown) => {
  if (error instanceof ConfigError) fail(error.problems.join('\n'))
  fail(error instanceof Error ? error.message : 'The layer could not be started.')
})
