/** A free port for a server that the benchmarks start. */
import { createServer } from 'node:net'

/** A TCP port of the loopback address that is free now, for a server that cannot choose one itself. */
export const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
