/** HTTP connections to an InfluxDB 2 server. */
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { InfluxDB, setLogger } from '@influxdata/influxdb-client'

export interface InfluxConnection {
  /** http or https, without `/api/v2`. */
  readonly url: string
  readonly token: string
  readonly org: string
  readonly bucket: string
}

/** Milliseconds without a byte after which a request fails. Both are below the 10 s that a Lambda function has. */
export const requestTimeouts = { write: 5000, query: 8000 } as const

/** Milliseconds. InfluxDB closes idle connections after 3 minutes; closing first avoids a request on a dying connection. */
const idleMs = 60_000

// The client library prints the content of a failed request, values included, to the console.
setLogger({ error: () => undefined, warn: () => undefined })

/** Keeps connections open between requests. The owner calls `destroy()`. */
export const createAgent = (url: string): HttpAgent => {
  const options = { keepAlive: true, timeout: idleMs }
  const agent = url.startsWith('https:') ? new HttpsAgent(options) : new HttpAgent(options)
  const connect = agent.createConnection.bind(agent)
  // The client library fails a request that gets no answer, but leaves its connection open.
  agent.createConnection = (to, callback) => {
    const socket = connect(to, callback)
    return socket?.on('timeout', () => socket.destroy())
  }
  return agent
}

export const createClient = (
  { url, token }: InfluxConnection,
  agent: HttpAgent,
  timeoutMs: number,
): InfluxDB => new InfluxDB({ url, token, timeout: timeoutMs, transportOptions: { agent } })

/** Clients of one server that share their connections. */
export interface InfluxClients {
  readonly agent: HttpAgent
  readonly writing: InfluxDB
  readonly querying: InfluxDB
}

/** The owner calls `agent.destroy()`. @param timeoutMs those of {@link requestTimeouts} unless given. */
export const createClients = (
  connection: InfluxConnection,
  { write = requestTimeouts.write, query = requestTimeouts.query }: { write?: number; query?: number } = {},
): InfluxClients => {
  const agent = createAgent(connection.url)
  return {
    agent,
    writing: createClient(connection, agent, write),
    querying: createClient(connection, agent, query),
  }
}
