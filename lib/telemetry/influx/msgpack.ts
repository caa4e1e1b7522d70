/**
 * Reads MessagePack, the shortest form in which InfluxDB answers InfluxQL: numbers keep their bits. Only what its answers have:
 * no binary data and no extensions. A package would read the columns that other devices have as well, value by value.
 */

export type Packed =
  | null
  | boolean
  | number
  | bigint
  | string
  | Packed[]
  | { readonly [name: string]: Packed }

/** The bytes end before the value does. */
const incomplete = new Error('MessagePack ends in the middle')

class Unpacker {
  at = 0
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** @throws {@link incomplete}, and an Error for what InfluxDB does not send. */
  value(): Packed {
    const type = this.#byte()
    if (type < 0x80) return type
    if (type < 0x90) return this.#map(type & 0x0f)
    if (type < 0xa0) return this.#array(type & 0x0f)
    if (type < 0xc0) return this.#text(type & 0x1f)
    if (type >= 0xe0) return type - 0x100
    switch (type) {
      case 0xc0:
        return null
      case 0xc2:
      case 0xc3:
        return type === 0xc3
      case 0xca:
        return this.#bytes.readFloatBE(this.#skip(4))
      case 0xcb:
        return this.#bytes.readDoubleBE(this.#skip(8))
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#unsigned(1 << (type - 0xcc))
      case 0xcf:
        return this.#bytes.readBigUInt64BE(this.#skip(8))
      case 0xd0:
      case 0xd1:
      case 0xd2:
        return this.#signed(1 << (type - 0xd0))
      case 0xd3:
        return this.#bytes.readBigInt64BE(this.#skip(8))
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#unsigned(1 << (type - 0xd9)))
      case 0xdc:
      case 0xdd:
        return this.#array(this.#unsigned(2 << (type - 0xdc)))
      case 0xde:
      case 0xdf:
        return this.#map(this.#unsigned(2 << (type - 0xde)))
      default:
        throw new Error(`MessagePack of type ${type}`)
    }
  }

  #skip(bytes: number): number {
    const from = this.at
    if (from + bytes > this.#bytes.length) throw incomplete
    this.at = from + bytes
    return from
  }

  #byte(): number {
    const byte = this.#bytes[this.at]
    if (byte === undefined) throw incomplete
    this.at += 1
    return byte
  }

  #unsigned(bytes: number): number {
    return this.#bytes.readUIntBE(this.#skip(bytes), bytes)
  }

  #signed(bytes: number): number {
    return this.#bytes.readIntBE(this.#skip(bytes), bytes)
  }

  #text(bytes: number): string {
    const from = this.#skip(bytes)
    return this.#bytes.toString('utf8', from, from + bytes)
  }

  #array(length: number): Packed[] {
    const values: Packed[] = []
    for (let n = 0; n < length; n += 1) values.push(this.value())
    return values
  }

  #map(length: number): { readonly [name: string]: Packed } {
    const entries: [string, Packed][] = []
    for (let n = 0; n < length; n += 1) entries.push([String(this.value()), this.value()])
    return Object.fromEntries(entries)
  }
}

/**
 * The values of a stream, one after the other.
 * @throws Error when the stream ends inside a value, or has what InfluxDB does not send; what the stream throws.
 */
export async function* unpack(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Packed> {
  let waiting: Uint8Array[] = []
  let [bytes, wanted] = [0, 1]
  for await (const chunk of stream) {
    waiting.push(chunk)
    bytes += chunk.length
    if (bytes < wanted) continue
    const all =
      waiting.length === 1 ? Buffer.from(chunk.buffer, chunk.byteOffset, bytes) : Buffer.concat(waiting)
    const unpacker = new Unpacker(all)
    let from = 0
    try {
      while (from < bytes) {
        const value = unpacker.value()
        // The values of an answer have about the same length: a try before that would be in vain.
        wanted = 0.9 * (unpacker.at - from)
        from = unpacker.at
        yield value
      }
    } catch (error) {
      if (error !== incomplete) throw error
      if (from === 0) wanted = 1.25 * bytes
    }
    waiting = [all.subarray(from)]
    bytes -= from
  }
  const unpacker = new Unpacker(Buffer.concat(waiting))
  while (unpacker.at < bytes) yield unpacker.value()
}
