/** Secrets that a server makes where its settings have none, each in a file that only its owner can read. */
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { mintKey } from '../lib/devices/credentials.ts'
import { errorCode } from '../lib/errors.ts'
import { describeFailure } from './describe-failure.ts'

export interface SecretFile {
  readonly file: string
  readonly secret: string
  /** True when this start has made it. */
  readonly created: boolean
}

export interface SecretKind {
  /** The name of the file. */
  readonly name: string
  /** The setting that has the secret otherwise. */
  readonly setting: string
  /** What it is, for errors. */
  readonly what: string
  /** Characters that it has at least. */
  readonly minLength: number
}

const madeLength = 40

/** @throws {Error} one sentence when the file cannot be written or read, or holds no such secret. */
export async function secretFile(
  dataDir: string,
  { name, setting, what, minLength }: SecretKind,
): Promise<SecretFile> {
  const file = join(dataDir, name)
  try {
    const handle = await open(file, 'wx', 0o600)
    const secret = mintKey(madeLength)
    await handle.writeFile(`${secret}\n`)
    await handle.sync()
    await handle.close()
    return { file, secret, created: true }
  } catch (error) {
    if (errorCode(error) !== 'EEXIST')
      return describeFailure(`${file} cannot be written`, () => Promise.reject(error))
  }
  const secret = (await describeFailure(`${file} cannot be read`, () => readFile(file, 'utf8'))).trim()
  if (secret.length < minLength)
    throw new Error(
      `${file} holds no ${what} of at least ${minLength} characters: delete it, or set ${setting}.`,
    )
  return { file, secret, created: false }
}
