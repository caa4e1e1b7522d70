/** The end of a key in arguments: a time, or how long it lives. */
import { UsageError } from '../scripts/command.ts'

const unitS = { m: 60, h: 3600, d: 86_400, w: 604_800 } as const

/** What `--expires` takes, for the help of a command. */
export const expiresHelp = 'a time of ISO 8601 with an offset, or how long the key lives: 12h, 90d'

/** The fields of the API; none without the option. @throws {UsageError} */
export function expiryOf(text: string | undefined): { ttl_s?: number; expires_at?: string } {
  if (text === undefined) return {}
  const [, number, unit] = /^(\d{1,6})([mhdw])$/.exec(text) ?? []
  if (unit !== undefined) return { ttl_s: Number(number) * unitS[unit as keyof typeof unitS] }
  if (/^\d{4}-\d\d-\d\dT/.test(text)) return { expires_at: text }
  throw new UsageError(`--expires must be ${expiresHelp}, not "${text}".`)
}
