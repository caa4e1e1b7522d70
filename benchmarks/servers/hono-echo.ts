/** The floor of HTTP: Hono on Node with one route that parses the body and answers with it. */
import type { AddressInfo } from 'node:net'
import { serve as listen } from '@hono/node-server'
import { Hono } from 'hono'
import { type PortFacts, serve } from '../process.ts'

/** Bytes of an answer: as many as the server's. */
const answerBytes = Number(process.argv[2])

serve(async () => {
  let fill: string | undefined
  const app = new Hono().post('/api/v1/devices/telemetry', async (c) => {
    const { data } = await c.req.json<{ data: unknown }>()
    fill ??= '.'.repeat(Math.max(0, answerBytes - JSON.stringify({ data, fill: '' }).length))
    return c.json({ data, fill }, 201)
  })
  const facts = await new Promise<PortFacts>((resolve) => {
    const server = listen({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, () =>
      resolve({ port: (server.address() as AddressInfo).port }),
    )
  })
  return { facts }
})
