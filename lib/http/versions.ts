/** Versions of a resource, in the headers of RFC 9110: ETag, If-Match, If-None-Match. */
import { hash } from 'node:crypto'
import { AppError } from '../errors.ts'
import type { RequestContext } from './context.ts'

/** @param version a whole number that each change raises, or a digest of the content. */
export const entityTag = (version: number | string): string => `"${version}"`

/** True when the client has this version already: answer 304. */
export function isUnchanged(c: RequestContext, version: number | string): boolean {
  const given = c.req.header('if-none-match')
  if (given === undefined) return false
  return given
    .split(',')
    .some((tag) => [entityTag(version), `W/${entityTag(version)}`, '*'].includes(tag.trim()))
}

/**
 * The version that the caller's change is based on; undefined when the change may replace any version.
 * @throws {AppError} PRECONDITION_FAILED for an If-Match that is not one of our versions.
 */
export function expectedVersion(c: RequestContext): number | undefined {
  const given = c.req.header('if-match')?.trim()
  if (given === undefined || given === '*') return undefined
  const match = /^"?(\d{1,15})"?$/.exec(given)
  if (match === null)
    throw new AppError('PRECONDITION_FAILED', 'If-Match is not a version that this address gave.')
  return Number(match[1])
}

/**
 * A text that names the origin of the request, with a digest as its version. Made again only for another origin than the
 * last one.
 */
export function textByOrigin(
  write: (origin: string) => string,
): (c: RequestContext) => { readonly text: string; readonly digest: string } {
  let last = { origin: '', text: '', digest: '' }
  return (c) => {
    const { origin } = new URL(c.req.raw.url)
    if (last.origin !== origin) {
      const text = write(origin)
      last = { origin, text, digest: hash('sha256', text, 'hex').slice(0, 32) }
    }
    return last
  }
}
