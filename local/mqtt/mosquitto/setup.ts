/** `npm run mqtt:setup`: writes the files that a Mosquitto on this computer needs to be the server's broker. */
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import { loadEnvFile } from '../../../lib/config.ts'
import { parseOptions, runCommand, UsageError } from '../../../scripts/command.ts'
import { writeMosquittoFiles } from './files.ts'

const help = `Writes the configuration of a Mosquitto 2, and the server's account there.

  npm run mqtt:setup -- [--dir <folder>]    target folder, by default .iotflow/mosquitto
                        [--address <ip>]    address for devices, by default 127.0.0.1
                        [--safe]            save after every message: a crash of Mosquitto loses milliseconds, but fewer messages pass per second
                        [--cert <file> --key <file>]  PEM files, for MQTT over TLS on port 8883
                        [--plugin <file>]   path of mosquitto_dynamic_security.so, when it is not found

Existing accounts stay. The server's password is MQTT_PASSWORD, or is generated and written to <folder>/server-password.
`

const findPlugin = (): string | undefined => {
  const name = 'mosquitto_dynamic_security.so'
  const folders = ['/usr/lib', '/usr/local/lib', '/opt/homebrew/lib'].filter((folder) => existsSync(folder))
  const deeper = folders.flatMap((folder) => readdirSync(folder).map((one) => join(folder, one)))
  return [...folders, ...deeper].map((folder) => join(folder, name)).find((file) => existsSync(file))
}

const setUp = async () => {
  const { values } = parseOptions({
    options: {
      dir: { type: 'string', default: '.iotflow/mosquitto' },
      address: { type: 'string', default: '127.0.0.1' },
      safe: { type: 'boolean', default: false },
      cert: { type: 'string' },
      key: { type: 'string' },
      plugin: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  loadEnvFile('.env')
  const plugin = values.plugin ?? findPlugin()
  if (plugin === undefined)
    throw new Error(
      'Mosquitto or its dynamic-security plugin was not found: install it (apt-get install mosquitto), or name it with --plugin.',
    )
  if ((values.cert === undefined) !== (values.key === undefined))
    throw new UsageError('--cert and --key need each other: one of them is missing.')
  if (isIP(values.address) === 0) throw new UsageError('--address must be an IP address.')
  const folder = resolve(values.dir)
  const known = existsSync(join(folder, 'dynamic-security.json'))
  const username = process.env.MQTT_USERNAME || 'iotflow'
  const ownPassword = process.env.MQTT_PASSWORD
  const password = ownPassword || randomBytes(24).toString('base64url')
  const configuration = await writeMosquittoFiles({
    folder,
    plugin,
    username,
    password,
    address: values.address,
    port: 1883,
    websocketPort: 9001,
    internalPort: 1884,
    tls: values.cert && values.key ? { port: 8883, cert: values.cert, key: values.key } : undefined,
    saving: values.safe ? 'safe' : 'fast',
  })
  if (!ownPassword && !known)
    await writeFile(join(folder, 'server-password'), `${password}\n`, { mode: 0o600 })
  process.stdout.write(
    `${known ? 'The existing accounts stay.' : 'The server has an account.'} Start it with\n\n  mosquitto -c ${configuration}\n\n` +
      `and the server with MQTT_URL=mqtt://127.0.0.1:1884, MQTT_USERNAME=${username} and MQTT_PASSWORD.\n` +
      (ownPassword || known ? '' : `The password is in ${join(folder, 'server-password')}.\n`),
  )
  return 0
}

export const main = () => runCommand(setUp)
