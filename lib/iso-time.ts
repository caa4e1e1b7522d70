/** Times in answers: milliseconds since the epoch as ISO 8601. */

/** ISO 8601 in UTC with 0 or 3 fraction digits, the fewest that are exact. @param ms milliseconds since the epoch. */
export const formatMillis = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z')
