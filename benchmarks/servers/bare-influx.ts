/**
 * A bare program beside the server with InfluxDB. It reads requests, writes batches into InfluxDB, adds each batch to accounts in a
 * file, and answers. It checks nothing, knows no device and writes no log. Its arguments: a folder, the bucket, and the bytes of
 * an answer.
 */
import { Agent, request } from 'node:http'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import Database from 'libsql'
import { influxSettings } from '../bucket.ts'
import { type PortFacts, serve } from '../process.ts'

const [, , folder = '', bucket = '', answerBytes = '0'] = process.argv
const devices = 1000
/** As long as each turn of the event loop brings more, a batch gathers; at most this long, ms. */
const gatherMs = 2

const body = '.'.repeat(Number(answerBytes))
const answer = `HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`

interface Batch {
  readonly sockets: Socket[]
  lines: string
  /** JSON: each device with the time of its message. */
  accounts: string
}

const emptyBatch = (): Batch => ({ sockets: [], lines: '', accounts: '' })

let messages = 0

/** Adds the message of a request whose head and body came together. */
const take = (batch: Batch, socket: Socket, bytes: Buffer): void => {
  const text = bytes.toString('utf8', bytes.indexOf('\r\n\r\n'))
  const { data, metadata } = JSON.parse(text) as Record<'data' | 'metadata', Record<string, unknown>>
  messages += 1
  const device = messages % devices
  const now = Date.now()
  let line = `device_telemetry,device_id=${device},device_type=bench_sensor,location=Living\\ Room received_at=${now}i`
  for (const name in data) line += `,${name}=${data[name]}`
  for (const name in metadata) line += `,meta_${name}="${metadata[name]}"`
  batch.lines += `${line} ${now}${String(messages % 1_000_000).padStart(6, '0')}\n`
  batch.accounts += `${batch.sockets.length === 0 ? '' : ','}[${device},${now}]`
  batch.sockets.push(socket)
}

serve(async () => {
  const db = new Database(join(folder, 'bare-influx.db'))
  db.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE accounting (device_id INTEGER PRIMARY KEY, received INTEGER, stored INTEGER, last_at INTEGER)`)
  const count = db.prepare(`INSERT INTO accounting
    SELECT value ->> 0, 1, 1, value ->> 1 FROM json_each(?) WHERE true
    ON CONFLICT DO UPDATE SET received = received + 1, stored = stored + 1, last_at = excluded.last_at`)
  const { INFLUXDB_URL, INFLUXDB_TOKEN, INFLUXDB_ORG } = influxSettings()
  const url = `${INFLUXDB_URL}/api/v2/write?${new URLSearchParams({ org: INFLUXDB_ORG, bucket, precision: 'ns' })}`
  const agent = new Agent({ keepAlive: true })
  let gathering = emptyBatch()
  let underWay = false
  let planned = false

  const send = ({ sockets, lines, accounts }: Batch): void => {
    underWay = true
    const headers = { Authorization: `Token ${INFLUXDB_TOKEN}`, 'Content-Length': Buffer.byteLength(lines) }
    const sending = request(url, { method: 'POST', agent, headers }, (response) => {
      if (response.statusCode !== 204) throw new Error(`InfluxDB answers ${response.statusCode}`)
      response.resume().on('end', () => {
        count.run(`[${accounts}]`)
        for (const socket of sockets) socket.write(answer, 'latin1')
        underWay = false
        plan()
      })
    })
    sending.on('error', (error) => {
      process.stderr.write(`bare-influx.ts: InfluxDB cannot be reached: ${error.message}\n`)
      process.exit(1)
    })
    sending.end(lines)
  }
  const gather = (until: number, before: number): void => {
    setImmediate(() => {
      const waiting = gathering.sockets.length
      if (waiting > before && performance.now() < until) gather(until, waiting)
      else {
        planned = false
        const batch = gathering
        gathering = emptyBatch()
        send(batch)
      }
    })
  }
  const plan = (): void => {
    if (planned || underWay || gathering.sockets.length === 0) return
    planned = true
    gather(performance.now() + gatherMs, 0)
  }

  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (bytes: Buffer) => {
      take(gathering, socket, bytes)
      plan()
    })
  })
  const facts = await new Promise<PortFacts>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve({ port: (server.address() as AddressInfo).port }))
  })
  return { facts, end: async () => void db.close() }
})
