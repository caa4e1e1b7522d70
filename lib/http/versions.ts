/** Versions of a resource as RFC 9110 carries them: ETag, If-Match, If-None-Match. */
import { AppError } from '../errors.ts'
import { type Call, headerOf } from './endpoint.ts'

/** @param version a whole number that each change raises, or a digest of the content. */
export const entityTag = (version: number | string): string => `"${version}"`

/** True when the client has this version already. */
export function isUnchanged(c: Call, version: number | string): boolean {
  const given = headerOf(c, 'if-none-match')
  if (given === undefined) return false
  return given
    .split(',')
    .some((tag) => [entityTag(version), `W/${entityTag(version)}`, '*'].includes(tag.trim()))
}

/**
 * The version a change was made from; undefined when it may replace any.
 * @throws {AppError} PRECONDITION_FAILED for an If-Match that is no version of ours.
 */
export function expectedVersion(c: Call): number | undefined {
  const given = headerOf(c, 'if-match')?.trim()
  if (given === undefined || given === '*') return undefined
  const match = /^"?(\d{1,15})"?$/.exec(given)
  if (match === null)
    throw new AppError('PRECONDITION_FAILED', 'If-Match is not a version that this address gave.')
  return Number(match[1])
}
