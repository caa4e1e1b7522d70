/** Finds a free TCP port on loopback, for servers that cannot pick one themselves. */
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })

/**
 * A random one below those that the system gives to outgoing connections and to servers that ask for any port: one of these
 * could take it before the server of the test listens, or while that is killed and started again.
 */
export const freePort = async (): Promise<number> => {
  for (;;) {
    const port = randomInt(10_000, 32_000)
    if (await isFree(port)) return port
  }
}
