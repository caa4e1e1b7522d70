/** An address in front of moto that also answers the one call of a deployment that moto does not know. */
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Aws } from '../support/aws.ts'

const action = 'UpdateTerminationProtection'
const answer = `<${action}Response xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><${action}Result><StackId>stack</StackId></${action}Result></${action}Response>`

/** The framework switches the protection of a stack on or off after each deployment. */
export async function startProtection({ endpoint }: Pick<Aws, 'endpoint'>) {
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      const body = Buffer.concat(chunks)
      if (body.includes(`Action=${action}`)) {
        response.writeHead(200, { 'Content-Type': 'text/xml' }).end(answer)
        return
      }
      const { 'transfer-encoding': _, ...headers } = incoming.headers
      const forwarded = request(
        `${endpoint}${incoming.url}`,
        { method: incoming.method, headers: { ...headers, 'content-length': String(body.length) } },
        (got) => {
          response.writeHead(got.statusCode ?? 502, got.headers)
          got.pipe(response)
        },
      )
      forwarded.once('error', () => response.destroy())
      forwarded.end(body)
    })
  })
  // A template takes moto minutes on a busy machine.
  server.requestTimeout = 0
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
