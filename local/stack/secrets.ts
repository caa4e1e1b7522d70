/** The secrets of the stack: generated when they are first needed, kept in `.env` for its owner only, and never changed. */
import { generateKeyPairSync, sign } from 'node:crypto'
import { chmod, open, readFile } from 'node:fs/promises'
import { parseEnv } from 'node:util'
import { mintKey } from '../../lib/devices/credentials.ts'
import type { Profile } from './docker.ts'

interface Secret {
  /** One name, or two that are generated together. */
  readonly names: readonly string[]
  make(): string[]
  /** The volume in which a server keeps it from its first start on: a new secret would not fit. */
  readonly volume?: string
  readonly profile?: Profile
}

/** A token for the libSQL server, and the public key that verifies it. The private key is not kept. */
const libsqlToken = (): string[] => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${part({ alg: 'EdDSA', typ: 'JWT' })}.${part({ a: 'rw' })}`
  return [
    `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`,
    publicKey.export({ format: 'jwk' }).x ?? '',
  ]
}
const key = () => [mintKey(40)]

// Compose needs every variable of compose.yaml, also those of services that do not start.
const secrets: readonly Secret[] = [
  { names: ['INFLUXDB_TOKEN'], make: key, volume: 'influxdb-data' },
  { names: ['INFLUXDB_PASSWORD'], make: key, volume: 'influxdb-data' },
  { names: ['MQTT_PASSWORD'], make: key, volume: 'mosquitto-data' },
  { names: ['REDIS_PASSWORD'], make: key },
  { names: ['GRAFANA_PASSWORD'], make: key, volume: 'grafana-data' },
  { names: ['LIBSQL_TOKEN', 'LIBSQL_PUBLIC_KEY'], make: libsqlToken },
  { names: ['METRICS_TOKEN'], make: key },
  { names: ['ADMIN_TOKEN'], make: key, profile: 'app' },
  { names: ['ENROLLMENT_KEY'], make: key, profile: 'app' },
]

export type Values = Readonly<Record<string, string>>

const readText = (file: string) =>
  readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw new Error(`${file} cannot be read (${error.code}).`)
  })

/** The variables of the file and of the environment, which comes first. Empty variables are left out. */
export async function readValues(file: string): Promise<Values> {
  const values: Record<string, string> = {}
  const sources: readonly NodeJS.Dict<string>[] = [parseEnv(await readText(file)), process.env]
  for (const source of sources)
    for (const [name, value] of Object.entries(source)) if (value) values[name] = value
  return values
}

/** Values for commands that need every variable, but not its value. */
export const placeholders = (values: Values): Values =>
  Object.fromEntries(
    secrets.flatMap(({ names }) => names.map((name) => [name, values[name] ?? 'not-made-yet'] as const)),
  )

/**
 * Generates the missing secrets and appends them to the file.
 * @param volumes names of the existing volumes.
 * @returns the names of the new secrets.
 * @throws {Error} one sentence when the volume of a server holds a secret that the file has lost.
 */
export async function makeSecrets(
  file: string,
  wanted: readonly Profile[],
  volumes: () => Promise<readonly string[]>,
): Promise<string[]> {
  const values = await readValues(file)
  const missing = secrets.filter(
    ({ names, profile }) =>
      (profile === undefined || wanted.includes(profile)) && names.some((name) => values[name] === undefined),
  )
  if (missing.length === 0) return []
  const existing = await volumes()
  const lost = missing.filter(({ volume }) => volume !== undefined && existing.includes(volume))
  if (lost.length > 0) {
    const names = lost.flatMap((secret) => secret.names).join(', ')
    throw new Error(
      `${names} of an earlier stack is not in ${file}, but the data is still there: put it back, or delete the data with npm run stack -- reset.`,
    )
  }
  const text = await readText(file)
  const made = missing.flatMap(({ names, make }) => {
    const values = make()
    return names.map((name, at) => [name, values[at]] as const)
  })
  const lines = made.map(([name, value]) => `${name}=${value}\n`).join('')
  const handle = await open(file, 'a', 0o600)
  try {
    // The file is closed to others before it holds a secret.
    await chmod(file, 0o600)
    await handle.write(`${text === '' || text.endsWith('\n') ? '' : '\n'}${lines}`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  return made.map(([name]) => name)
}
