/** Reads plain requests with telemetry. It takes only the common form, which Node's parser understands in the same way. */

/** A plain request that is there as a whole. */
export interface DirectRequest {
  readonly path: string
  /** By names in lower case; no name was sent twice. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** Bytes of the longest head that is plain. */
const maxHeadBytes = 4096
/** Bytes of the largest body that is plain. */
const maxBodyBytes = 65_536

/** Lines as nearly every client writes them: one space behind the colon, and values of ASCII that end without a space. */
const plainHead =
  /^POST \/[!-~]* HTTP\/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [!-~](?:[ -~]*[!-~])?\r\n)+\r\n$/
/** What node-server takes for the name of a host without a closer look. */
const plainHost = /^[a-z0-9._-]+(?::(?:[1-5]\d{3,4}|[6-9]\d{3}))?$/
const plainLength = /^\d{1,5}$/
/** Headers that change how a connection or a body is read. */
const framing = ['transfer-encoding', 'expect', 'upgrade'] as const
const version = ' HTTP/1.1'

const keepsAlive = (value: string | undefined) => value === undefined || value.toLowerCase() === 'keep-alive'

const readHeaders = (head: string, from: number): Record<string, string> | undefined => {
  const headers: Record<string, string> = Object.create(null)
  const end = head.length - 2
  for (let at = from; at < end; ) {
    const colon = head.indexOf(':', at)
    const lineEnd = head.indexOf('\r\n', colon)
    const name = head.slice(at, colon).toLowerCase()
    if (headers[name] !== undefined) return undefined
    headers[name] = head.slice(colon + 2, lineEnd)
    at = lineEnd + 2
  }
  return headers
}

/**
 * Reads what came on a connection between two requests.
 * @param isDirect whether telemetry can be sent to a path.
 * @returns undefined when it is anything but one plain request, and `incomplete` when only a part of its body is missing.
 */
export function readDirectRequest(
  bytes: Buffer,
  isDirect: (path: string) => boolean,
): DirectRequest | 'incomplete' | undefined {
  const text = bytes.toString('latin1', 0, maxHeadBytes)
  const headBytes = text.indexOf('\r\n\r\n') + 4
  if (headBytes < 4) return undefined
  const head = text.slice(0, headBytes)
  if (!plainHead.test(head)) return undefined
  const lineEnd = head.indexOf('\r\n')
  const path = head.slice('POST '.length, lineEnd - version.length)
  if (!isDirect(path)) return undefined
  const headers = readHeaders(head, lineEnd + 2)
  if (headers === undefined || !plainHost.test(headers.host ?? '')) return undefined
  for (const name of framing) if (headers[name] !== undefined) return undefined
  if (!keepsAlive(headers.connection) || !keepsAlive(headers['proxy-connection'])) return undefined
  const length = headers['content-length']
  if (length === undefined || !plainLength.test(length)) return undefined
  const bodyBytes = Number(length)
  const missing = headBytes + bodyBytes - bytes.length
  if (missing < 0 || bodyBytes > maxBodyBytes) return undefined
  return missing > 0 ? 'incomplete' : { path, headers, body: bytes.subarray(headBytes) }
}
