/** Raw bytes over TCP, for requests that no client library would send. */
import { connect } from 'node:net'

export interface Wire {
  send(...parts: (string | Uint8Array)[]): void
  /** The bytes received so far. */
  received(): Buffer
  isClosed(): boolean
  /** Resolves when the other side has ended the connection, with the time since it was opened, ms. */
  readonly closes: Promise<number>
  /** Sends until all `bytes` are sent or the other side has ended the connection. Resolves with the number of bytes sent. */
  stream(bytes: number): Promise<number>
  /** Sends the remaining bytes, then ends its own direction of the connection. */
  end(): void
  destroy(): void
}

/** Opens a connection to the host and port of a URL. */
export const openWire = (url: string): Promise<Wire> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    const opened = Date.now()
    const chunks: Buffer[] = []
    let closed = false
    const closes = new Promise<number>((over) => {
      socket.on('close', () => {
        closed = true
        over(Date.now() - opened)
      })
    })
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('error', reject)
    socket.on('connect', () =>
      resolve({
        send: (...parts) => {
          for (const part of parts) socket.write(part)
        },
        received: () => Buffer.concat(chunks),
        isClosed: () => closed,
        closes,
        async stream(bytes) {
          const chunk = Buffer.alloc(65_536, 'x')
          while (!closed && socket.bytesWritten < bytes) {
            if (!socket.write(chunk))
              await Promise.race([new Promise((drained) => socket.once('drain', drained)), closes])
          }
          return socket.bytesWritten
        },
        end: () => socket.end(),
        destroy: () => socket.destroy(),
      }),
    )
  })
