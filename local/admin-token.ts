/** The admin token of a server whose settings have none: made at the first start. */
import { secretFile } from './secret-file.ts'

export interface AdminToken {
  readonly file: string
  readonly token: string
  /** True when this start has generated it. */
  readonly created: boolean
}

/** @throws {Error} one sentence when the file cannot be written or read, or holds no token. */
export async function adminTokenFile(dataDir: string): Promise<AdminToken> {
  const { secret, ...about } = await secretFile(dataDir, {
    name: 'admin-token',
    setting: 'ADMIN_TOKEN',
    what: 'admin token',
    minLength: 24,
  })
  return { ...about, token: secret }
}
