/** The admin token of a server whose settings have none: generated at the first start, in a file that only its owner can read. */
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { mintKey } from '../lib/devices/credentials.ts'
import { errorCode } from '../lib/errors.ts'
import { describeFailure } from './describe-failure.ts'

export interface AdminToken {
  readonly file: string
  readonly token: string
  /** True when this start has generated it. */
  readonly created: boolean
}

/** @throws {Error} one sentence when the file cannot be written or read, or holds no token. */
export async function adminTokenFile(dataDir: string): Promise<AdminToken> {
  const file = join(dataDir, 'admin-token')
  try {
    const handle = await open(file, 'wx', 0o600)
    const token = mintKey(40)
    await handle.writeFile(`${token}\n`)
    await handle.sync()
    await handle.close()
    return { file, token, created: true }
  } catch (error) {
    if (errorCode(error) !== 'EEXIST')
      return describeFailure(`${file} cannot be written`, () => Promise.reject(error))
  }
  const token = (await describeFailure(`${file} cannot be read`, () => readFile(file, 'utf8'))).trim()
  if (token.length < 24)
    throw new Error(`${file} holds no admin token of at least 24 characters: delete it, or set ADMIN_TOKEN.`)
  return { file, token, created: false }
}
