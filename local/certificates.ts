/** `npm run certs`: a certificate for this machine, for trying TLS: HTTPS and MQTTS of the layer, or a Mosquitto. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const help = `Makes a key and a certificate that is signed by itself, for 825 days.

  npm run certs -- [--dir <folder>] [--name <host or address>]...

Into .iotflow/certs unless told otherwise, for localhost and 127.0.0.1 and every --name. Devices have to be given
cert.pem as what they trust; for devices out of your hands take a certificate that the world trusts.
`

/**
 * @param names hosts and addresses beside localhost.
 * @throws {Error} one sentence when there is a key already, or no openssl.
 */
export function makeCertificate(folder: string, names: readonly string[]): { cert: string; key: string } {
  const [cert, key] = [join(resolve(folder), 'cert.pem'), join(resolve(folder), 'key.pem')]
  if (existsSync(key))
    throw new Error(`${key} is there already: delete it first if devices no longer need it.`)
  const bad = names.find((name) => !/^[\w.:*-]+$/.test(name))
  if (bad !== undefined) throw new Error(`--name ${bad} is no host and no address.`)
  const all = ['localhost', '127.0.0.1', ...names]
  const subjects = all.map((name) => `${isIP(name) ? 'IP' : 'DNS'}:${name}`).join(',')
  mkdirSync(resolve(folder), { recursive: true, mode: 0o700 })
  const { error, status, stderr } = spawnSync('openssl', [
    ...[
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '825',
    ],
    ...['-subj', '/CN=iotflow', '-addext', `subjectAltName=${subjects}`, '-keyout', key, '-out', cert],
  ])
  if (error) throw new Error('openssl is not installed: it makes the certificate.')
  if (status !== 0) throw new Error(`openssl could not make it: ${String(stderr).split('\n')[0]}`)
  chmodSync(key, 0o600)
  return { cert, key }
}

const main = () => {
  const { values } = parseArgs({
    options: {
      dir: { type: 'string', default: '.iotflow/certs' },
      name: { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return
  }
  const { cert, key } = makeCertificate(values.dir, values.name)
  process.stdout.write(`TLS_CERT=${cert}\nTLS_KEY=${key}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main()
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    process.exitCode = 1
  }
}
