/** The header Accept-Encoding of RFC 9110. */

const refuses = /;\s*q=0(?:\.0*)?\s*$/

/** The encodings that a client takes, in lower case. @param header undefined where the request has none. */
export const acceptedEncodings = (header: string | undefined): ReadonlySet<string> =>
  new Set(
    (header ?? '')
      .split(',')
      .filter((one) => !refuses.test(one))
      .map((one) => one.split(';')[0]?.trim().toLowerCase() ?? ''),
  )
