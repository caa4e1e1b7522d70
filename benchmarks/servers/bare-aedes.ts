/** The floor of MQTT: aedes alone with one listener. It answers every question with the number of messages. */
import { type AddressInfo, createServer } from 'node:net'
import { Aedes } from 'aedes'
import { type PortFacts, serve } from '../process.ts'

serve(async () => {
  const aedes = await Aedes.createBroker()
  let messages = 0
  aedes.on('publish', (packet, client) => {
    if (client !== null && packet.payload.length > 0) messages += 1
  })
  const server = createServer({ noDelay: true }, aedes.handle)
  const facts = await new Promise<PortFacts>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve({ port: (server.address() as AddressInfo).port }))
  })
  return { facts, ask: async () => messages }
})
