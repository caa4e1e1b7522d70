/** The key of the secrets of webhooks, where the settings have none: made at the first start. */
import type { Config } from '../lib/config.ts'
import { secretFile } from './secret-file.ts'

/**
 * The settings with such a key. Several servers on one database need the same key, so that there it is not made.
 * @throws {Error} one sentence when the file cannot be written or read, or holds no key.
 */
export async function withSigningKey(config: Config): Promise<Config> {
  const { webhooks, database, dataDir } = config
  if (webhooks.signingKey !== undefined || !database.url.startsWith('file:')) return config
  const { secret } = await secretFile(dataDir, {
    name: 'webhook-signing-key',
    setting: 'WEBHOOK_SIGNING_KEY',
    what: 'key',
    minLength: 32,
  })
  return { ...config, webhooks: { ...webhooks, signingKey: secret } }
}
