/** `npm run mqtt:setup`: writes what a Mosquitto on this machine needs to be the broker of the layer. */
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { writeMosquittoFiles } from './mosquitto-files.ts'

const help = `Writes the configuration of a Mosquitto 2, and the layer's account there.

  npm run mqtt:setup -- [--dir <folder>]    where to, .iotflow/mosquitto unless given
                        [--address <ip>]    for devices, 127.0.0.1 unless given
                        [--safe]            save after every message: a crash of Mosquitto loses milliseconds, at fewer a second
                        [--cert <file> --key <file>]  PEM files, for MQTT over TLS on port 8883
                        [--plugin <file>]   mosquitto_dynamic_security.so, where it is not found

Accounts that are there stay. The password of the layer is MQTT_PASSWORD, or made and written to <folder>/layer-password.
`

const findPlugin = (): string | undefined => {
  const name = 'mosquitto_dynamic_security.so'
  const folders = ['/usr/lib', '/usr/local/lib', '/opt/homebrew/lib'].filter((folder) => existsSync(folder))
  const deeper = folders.flatMap((folder) => readdirSync(folder).map((one) => join(folder, one)))
  return [...folders, ...deeper].map((folder) => join(folder, name)).find((file) => existsSync(file))
}

const main = async () => {
  const { values } = parseArgs({
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
    return
  }
  const plugin = values.plugin ?? findPlugin()
  if (plugin === undefined)
    throw new Error(
      'Mosquitto is not installed, or its dynamic-security plugin is not found: apt-get install mosquitto, or --plugin.',
    )
  if ((values.cert === undefined) !== (values.key === undefined))
    throw new Error('--cert and --key go together: one of them is missing.')
  const folder = resolve(values.dir)
  const known = existsSync(join(folder, 'dynamic-security.json'))
  const given = process.env.MQTT_PASSWORD
  const password = given || randomBytes(24).toString('base64url')
  const configuration = await writeMosquittoFiles({
    folder,
    plugin,
    username: process.env.MQTT_USERNAME || 'iotflow',
    password,
    address: values.address,
    port: 1883,
    websocketPort: 9001,
    internalPort: 1884,
    tls: values.cert && values.key ? { port: 8883, cert: values.cert, key: values.key } : undefined,
    crash: values.safe ? 'safe' : 'fast',
  })
  if (!given && !known) await writeFile(join(folder, 'layer-password'), `${password}\n`, { mode: 0o600 })
  process.stdout.write(
    `${known ? 'Its accounts are those that were there.' : 'The layer has an account.'} Start it with\n\n  mosquitto -c ${configuration}\n\n` +
      'and the layer with MQTT_URL=mqtt://127.0.0.1:1884, MQTT_USERNAME=iotflow and MQTT_PASSWORD.\n' +
      (given || known ? '' : `The password is in ${join(folder, 'layer-password')}.\n`),
  )
}

main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`)
  process.exit(1)
})
