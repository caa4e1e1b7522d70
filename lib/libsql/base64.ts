/** Replaces `js-base64` in the bundles of the cloud: of its 4 KB, the client of a libSQL server uses what Node has itself. */
export const Base64 = {
  fromUint8Array: (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64'),
  /** In memory of its own: the client hands on the whole buffer, and those of Node share theirs. */
  toUint8Array: (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64')),
}
