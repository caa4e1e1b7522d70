/** `npm run certs`: a certificate for this machine, to try TLS with: HTTPS and MQTTS of the server, or a Mosquitto. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import { parseOptions, runCommand, UsageError } from './command.ts'

const help = `Makes a key and a self-signed certificate that is valid for 825 days.

  npm run certs -- [--dir <folder>] [--name <host or address>]...

The files go into .iotflow/certs unless --dir names another folder. The certificate is for localhost, 127.0.0.1 and every --name.
Give cert.pem to devices as the certificate that they trust. For devices that you cannot reach, take a certificate of a public
authority.
`

/**
 * @param names hosts and addresses beside localhost.
 * @throws {UsageError} when a name is not a host or an address.
 * @throws {Error} one sentence when there is a key already, or no openssl.
 */
export function makeCertificate(folder: string, names: readonly string[]): { cert: string; key: string } {
  const [cert, key] = [join(resolve(folder), 'cert.pem'), join(resolve(folder), 'key.pem')]
  if (existsSync(key))
    throw new Error(`${key} exists already: delete it first if no device needs it any more.`)
  const bad = names.find((name) => !/^[\w.:*-]+$/.test(name))
  if (bad !== undefined) throw new UsageError(`--name must be a host or an address, not "${bad}".`)
  const all = ['localhost', '127.0.0.1', ...names]
  const subjects = all.map((name) => `${isIP(name) ? 'IP' : 'DNS'}:${name}`).join(',')
  mkdirSync(resolve(folder), { recursive: true, mode: 0o700 })
  const { error, status, stderr } = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-days', '825', '-subj', '/CN=iotflow', '-addext', `subjectAltName=${subjects}`],
    ...['-keyout', key, '-out', cert],
  ])
  if (error) throw new Error('openssl is not installed: it makes the certificate.')
  if (status !== 0) throw new Error(`openssl failed: ${String(stderr).split('\n')[0]}`)
  chmodSync(key, 0o600)
  return { cert, key }
}

export const main = () =>
  runCommand(() => {
    const { values } = parseOptions({
      options: {
        dir: { type: 'string', default: '.iotflow/certs' },
        name: { type: 'string', multiple: true, default: [] },
        help: { type: 'boolean', short: 'h' },
      },
    })
    if (values.help) {
      process.stdout.write(help)
      return 0
    }
    const { cert, key } = makeCertificate(values.dir, values.name)
    process.stdout.write(`TLS_CERT=${cert}\nTLS_KEY=${key}\n`)
    return 0
  })
