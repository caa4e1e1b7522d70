/** The Prefer header of RFC 7240, by which a client says how it wants its request to be handled. */
import type { RequestContext } from './context.ts'

/** One preference of a list: its name, its value where it has one, and its parameters, which are skipped. */
const preference =
  /\s*([^\s=;,"]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?(?:\s*;(?:"(?:[^"\\]|\\.)*"|[^,"])*)?\s*(?:,|$)/y

/** Characters of the header that are read. */
const maxLength = 1000

/** The value of a preference, in lower case; the first one counts. Undefined where the client does not name it. */
export function preferenceOf(header: string, name: string): string | undefined {
  const text = header.slice(0, maxLength)
  for (let at = 0; at < text.length; at = preference.lastIndex) {
    preference.lastIndex = at
    const [, found, quoted, plain = ''] = preference.exec(text) ?? []
    // What is no preference is skipped up to the next comma.
    if (found === undefined) preference.lastIndex = text.indexOf(',', at) + 1 || text.length
    else if (found.toLowerCase() === name) return (quoted ?? plain).toLowerCase()
  }
  return undefined
}

/** Whether the client asks for strict handling. The answer then says `Preference-Applied: handling=strict`. */
export function wantsStrictHandling(c: RequestContext): boolean {
  const header = c.req.header('prefer')
  if (header === undefined || preferenceOf(header, 'handling') !== 'strict') return false
  c.get('headers')['Preference-Applied'] = 'handling=strict'
  return true
}

/** Documents the header where {@link wantsAsync} is asked. */
export const respondAsync = {
  in: 'header',
  description: '`respond-async` does not wait for a large deletion.',
  schema: { type: 'string' },
} as const

/** Whether the client asks for an answer at once, while the work goes on. The answer then says `Preference-Applied: respond-async`. */
export function wantsAsync(c: RequestContext): boolean {
  const header = c.req.header('prefer')
  if (header === undefined || preferenceOf(header, 'respond-async') === undefined) return false
  c.get('headers')['Preference-Applied'] = 'respond-async'
  return true
}
