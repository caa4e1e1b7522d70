/** The secrets of the stack: made when they are first needed, in `.env` for its owner only, and never changed. */
import { generateKeyPairSync, sign } from 'node:crypto'
import { chmod, open, readFile } from 'node:fs/promises'
import { parseEnv } from 'node:util'
import { mintKey } from '../lib/devices/credentials.ts'
import type { Profile } from './docker.ts'

interface Secret {
  /** One name, or a pair that is made at once. */
  readonly names: readonly string[]
  make(): string[]
  /** Where a server keeps it from its first start on: a new one would not fit. */
  readonly volume?: string
  readonly profile?: Profile
}

/** A token for the libSQL server, and the key that the server knows it by. The key that signs is forgotten. */
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

// Compose wants to know all that stands in its file; those of a profile stand only in .env.
const secrets: readonly Secret[] = [
  { names: ['INFLUXDB_TOKEN'], make: key, volume: 'influxdb-data' },
  { names: ['INFLUXDB_PASSWORD'], make: key, volume: 'influxdb-data' },
  { names: ['MQTT_PASSWORD'], make: key, volume: 'mosquitto-data' },
  { names: ['REDIS_PASSWORD'], make: key },
  { names: ['GRAFANA_PASSWORD'], make: key, volume: 'grafana-data' },
  { names: ['LIBSQL_TOKEN', 'LIBSQL_PUBLIC_KEY'], make: libsqlToken },
  { names: ['ADMIN_TOKEN'], make: key, profile: 'app' },
  { names: ['ENROLLMENT_KEY'], make: key, profile: 'app' },
]

export type Values = Readonly<Record<string, string>>

const readText = (file: string) =>
  readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw new Error(`${file} cannot be read (${error.code}).`)
  })

/** What the file sets, and before it the environment. What is empty is not set. */
export async function readValues(file: string): Promise<Values> {
  const values: Record<string, string> = {}
  const sources: readonly NodeJS.Dict<string>[] = [parseEnv(await readText(file)), process.env]
  for (const source of sources)
    for (const [name, value] of Object.entries(source)) if (value) values[name] = value
  return values
}

/** For commands that only need the file to be complete. */
export const placeholders = (values: Values): Values =>
  Object.fromEntries(
    secrets.flatMap(({ names }) => names.map((name) => [name, values[name] ?? 'not-made-yet'] as const)),
  )

/**
 * Makes what is missing and appends it to the file.
 * @param volumes names of those that are there.
 * @returns the names that were made.
 * @throws {Error} one sentence when a server already has a secret that is lost.
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
  const there = await volumes()
  const lost = missing.filter(({ volume }) => volume !== undefined && there.includes(volume))
  if (lost.length > 0) {
    const names = lost.flatMap((secret) => secret.names).join(', ')
    throw new Error(
      `${names} of an earlier stack is not in ${file}, but the data is still there: put it back, or delete the data with npm run stack -- reset.`,
    )
  }
  const text = await readText(file)
  const made = missing.flatMap(({ names, make }) => {
    const fresh = make()
    return names.map((name, at) => [name, fresh[at]] as const)
  })
  const lines = made.map(([name, value]) => `${name}=${value}\n`).join('')
  const handle = await open(file, 'a', 0o600)
  try {
    // Before anything secret is in it.
    await chmod(file, 0o600)
    await handle.write(`${text === '' || text.endsWith('\n') ? '' : '\n'}${lines}`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  return made.map(([name]) => name)
}
