/** The ingest function gets events as AWS delivers them: twice, at the same time, and in batches of the queue of which one record fails. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { SQSBatchResponse } from 'aws-lambda'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { loadConfig } from '../../lib/config.ts'
import { createLog } from '../../lib/log.ts'
import type { Ledger } from '../../lib/telemetry/embedded/ledger.ts'
import { openEmbedded } from '../../lib/telemetry/embedded/open.ts'
import type { InfluxConnection } from '../../lib/telemetry/influx/connection.ts'
import { openInfluxStore } from '../../lib/telemetry/influx/store.ts'
import type { TelemetryStore } from '../../lib/telemetry/store.ts'
import { prepareDatabases } from '../../local/databases.ts'
import { loadFunctions } from '../../local/functions.ts'
import { findMoto } from '../support/aws.ts'
import { describeWith } from '../support/backends.ts'
import { builtCloud } from '../support/cloud-bundles.ts'
import { influxIsThere, ownBucket } from '../support/influxdb.ts'
import { region, startGateway, startLambda } from '../support/lambda.ts'
import { findSqld, startSqld } from '../support/sqld.ts'
import { type Sqs, startSqs } from '../support/sqs.ts'

/** Forwards requests to a database, except those with a certain word in path or body: these fail. */
const openFaultyDatabase = async (upstream: string) => {
  const trouble = { word: undefined as string | undefined, status: 503 }
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      const body = Buffer.concat(chunks)
      if (
        trouble.word !== undefined &&
        (body.includes(trouble.word) || incoming.url?.includes(trouble.word))
      ) {
        response.writeHead(trouble.status).end()
        return
      }
      const headers = { ...incoming.headers } as Record<string, string>
      for (const name of ['host', 'connection', 'content-length', 'transfer-encoding']) delete headers[name]
      fetch(`${upstream}${incoming.url}`, {
        method: incoming.method ?? 'GET',
        headers,
        ...(body.length > 0 ? { body: new Uint8Array(body) } : {}),
      }).then(
        async (got) => {
          const text = Buffer.from(await got.arrayBuffer())
          response.writeHead(got.status, { 'Content-Type': got.headers.get('content-type') ?? '' }).end(text)
        },
        () => response.destroy(),
      )
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    trouble,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}

const needs = { sqld: findSqld() !== undefined, moto: findMoto() !== undefined }
const adminToken = 'a-token-of-the-tests-only'

/** @param openInflux opens an InfluxDB for the readings; without it they are stored on the libSQL server. */
const ingestFunction = (openInflux?: () => Promise<InfluxConnection>) => () => {
  const log = createLog('silent')
  const endings: (() => Promise<unknown>)[] = []
  let lambda: ReturnType<typeof startLambda>
  let database: Awaited<ReturnType<typeof openFaultyDatabase>>
  /** The database of the readings: its failures do not affect the registry. */
  let telemetry: Awaited<ReturnType<typeof openFaultyDatabase>>
  let sqs: Sqs
  let httpUrl: string
  let store: TelemetryStore
  let ledger: Ledger
  let device: { id: number; api_key: string }

  beforeAll(async () => {
    await builtCloud()
    const sqld = await startSqld()
    endings.push(() => sqld.stop())
    await prepareDatabases(loadConfig({ DATABASE_URL: sqld.url }), log)
    database = await openFaultyDatabase(sqld.url)
    endings.push(() => database.close())
    telemetry = database
    const influx = await openInflux?.()
    if (influx !== undefined) {
      telemetry = await openFaultyDatabase(influx.url)
      endings.push(() => telemetry.close())
    }
    sqs = await startSqs()
    endings.push(() => sqs.stop())
    lambda = startLambda(new URL('../../dist/cloud/', import.meta.url), {
      STAGE: 'dev',
      DATABASE_URL: database.url,
      SPOOL_QUEUE_URL: sqs.queue.url,
      ...(influx && {
        INFLUXDB_URL: telemetry.url,
        INFLUXDB_TOKEN: influx.token,
        INFLUXDB_ORG: influx.org,
        INFLUXDB_BUCKET: influx.bucket,
      }),
      ADMIN_TOKEN: adminToken,
      OPEN_REGISTRATION: 'true',
      PUBLIC_TELEMETRY_READS: 'true',
      RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      LOG_LEVEL: 'silent',
    })
    endings.push(() => lambda.close())
    const gateway = await startGateway(await loadFunctions(), lambda)
    endings.push(() => gateway.close())
    httpUrl = gateway.url
    // The test opens the stores itself, to look at their contents.
    const embedded = await openEmbedded({ at: { url: sqld.url, authToken: undefined }, log, retentionMs: 0 })
    endings.push(() => embedded.close())
    ledger = embedded.ledger
    store = embedded.store
    if (influx !== undefined) {
      store = openInfluxStore({ connection: influx, log })
      endings.push(() => store.close())
    }
  })
  afterAll(async () => {
    for (const end of endings.reverse()) await end()
  })

  const register = async (name: string) => {
    const response = await fetch(`${httpUrl}/api/v1/devices/register`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name, device_type: 'sensor' }),
    })
    expect(response.status).toBe(201)
    device = ((await response.json()) as { device: typeof device }).device
  }
  let made = 0
  const event = (payload: unknown) => {
    made += 1
    return {
      payload: Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)).toString(
        'base64',
      ),
      topic: `iotflow/devices/${device.id}/telemetry`,
      client_id: `${device.id}`,
      received_at: Date.now(),
      message_id: `0000-${made}`,
    }
  }
  const ingest = (given: unknown) => lambda.invoke('telemetry-ingest', given)
  const record = (body: unknown) => {
    made += 1
    const attributes = { ApproximateReceiveCount: '1', SentTimestamp: String(Date.now()) }
    return { messageId: `record-${made}`, body: JSON.stringify(body), attributes, eventSource: 'aws:sqs' }
  }
  const deliver = async (...records: ReturnType<typeof record>[]) => {
    const { batchItemFailures } = (await ingest({ Records: records })) as SQSBatchResponse
    return batchItemFailures.map(({ itemIdentifier }) => itemIdentifier)
  }
  const values = async () => {
    const range = { from: 0n, to: 2n ** 62n, fields: undefined, limit: 1000, order: 'asc' } as const
    return (await store.history({ ...range, deviceId: device.id })).map(({ fields }) => fields.n)
  }

  const account = () => ledger.account(device.id)
  const admin = async (method: string, path: string) => {
    const response = await fetch(`${httpUrl}/api/v1/${path}`, {
      method,
      headers: { Authorization: `admin ${adminToken}` },
    })
    expect(response.status).toBe(200)
    return response.json()
  }

  it('stores one reading when an event without a time arrives twice, one after the other or at once', async () => {
    await register('twice')
    const [first, second] = [event({ n: 1 }), event({ n: 2 })]
    await ingest(first)
    await ingest(first)
    await Promise.all([ingest(second), ingest(second), ingest(second)])
    expect((await values()).sort()).toEqual([1, 2])
    // A repeated delivery without an idempotency key is counted every time.
    expect(await account()).toMatchObject({ received: 5, stored: 5 })
  })

  it('stores one reading when messages with the same message_id arrive several times', async () => {
    await register('keyed')
    const events = [1, 2, 3].map(() => event({ n: 1, message_id: 'mine' }))
    await Promise.all(events.map(ingest))
    expect(await deliver(record(events[0]), record(event({ n: 1, message_id: 'mine' })))).toEqual([])
    expect(await values()).toEqual([1])
    expect(await account()).toMatchObject({ received: 5, stored: 1, duplicates: 4 })
  })

  it('stores every shape of record that the queue delivers', async () => {
    await register('shapes')
    const ruleFailure = {
      ruleName: 'iotflow_dev_telemetry_ingest',
      topic: `iotflow/devices/${device.id}/telemetry`,
      clientId: `${device.id}`,
      base64OriginalPayload: Buffer.from('{"n":3}').toString('base64'),
      failures: [{ failedAction: 'LambdaAction', errorMessage: 'throttled' }],
    }
    const lambdaFailure = {
      version: '1.0',
      requestContext: { condition: 'RetriesExhausted', approximateInvokeCount: 3 },
      requestPayload: event({ n: 2 }),
      responsePayload: { errorType: 'AppError' },
    }
    const failed = await deliver(
      record(event({ n: 1 })),
      record(lambdaFailure),
      record(ruleFailure),
      record({ something: 'else' }),
    )
    expect(failed).toEqual([])
    expect((await values()).sort()).toEqual([1, 2, 3])
    expect(await account()).toMatchObject({ received: 3, stored: 3, rejected: 0 })
  })

  it('makes a dead letter of a foreign record, which the queue would deliver again for ever', async () => {
    const bodies = ['not json', 'null', '7', '[]', '{"spooled":null}', '{"spooled":{"readings":7}}']
    const { received_at: _, ...noTime } = event({ n: 1 })
    const all = [...bodies, JSON.stringify(noTime), JSON.stringify({ requestPayload: 7 })]
    expect(await deliver(...all.map((body) => ({ ...record({}), body })))).toEqual([])
    const { dead_letters: letters } = (await admin('GET', 'admin/dead-letters')) as {
      dead_letters: { payload: string }[]
    }
    expect(letters.map(({ payload }) => payload)).toEqual(expect.arrayContaining(all))
  })

  it('reports only the record that failed; after its next delivery it is stored once', async () => {
    await register('batch')
    const records = [1, 2, 3, 4, 5].map((n) =>
      record(event({ n, ...(n === 3 && { note: 'not-today' }), timestamp: Date.now() - n * 1000 })),
    )
    // A server that is unavailable refuses a whole batch; an error of one statement may be of one message.
    Object.assign(telemetry.trouble, { word: 'not-today', status: openInflux ? 503 : 500 })
    const failed = await deliver(...records)
    // Readings that are written to InfluxDB in one request fail together.
    if (openInflux) expect(failed).toContain(records[2]?.messageId)
    else {
      expect(failed).toEqual([records[2]?.messageId])
      expect((await values()).sort()).toEqual([1, 2, 4, 5])
    }
    const before = await account()
    expect(before).toMatchObject({ received: 5 - failed.length, stored: 5 - failed.length })
    // The failed record is delivered again, with another one that is delivered twice.
    Object.assign(telemetry.trouble, { word: undefined, status: 503 })
    const again = records.filter(({ messageId }, at) => at > 2 || failed.includes(messageId))
    expect(await deliver(...again)).toEqual([])
    expect((await values()).sort()).toEqual([1, 2, 3, 4, 5])
    const count = before.received + again.length
    expect(await account()).toMatchObject({ received: count, stored: count, duplicates: 0 })
  })

  it('answers 202 over HTTP while the database is unavailable, and stores the readings from the queue later', async () => {
    await register('unavailable')
    const submit = (n: number) =>
      fetch(`${httpUrl}/api/v1/devices/telemetry`, {
        method: 'POST',
        headers: {
          'Content-Type': 'application/json',
          'X-API-Key': device.api_key,
          'Idempotency-Key': `k${n}`,
        },
        body: JSON.stringify({ n }),
      })
    expect((await submit(1)).status).toBe(201)
    telemetry.trouble.word = openInflux ? '/api/v2/write' : 'INSERT INTO readings'
    const queued = await submit(2)
    expect(queued.status).toBe(202)
    expect(await queued.json()).toMatchObject({ status: 'queued', accepted: 1 })
    expect(await values()).toEqual([1])
    telemetry.trouble.word = undefined
    const messages = await sqs.receive()
    expect(messages).toHaveLength(1)
    for (const message of [...messages, ...messages])
      expect(await deliver({ ...record({}), messageId: message.MessageId, body: message.Body })).toEqual([])
    expect((await values()).sort()).toEqual([1, 2])
    // The sender did not get the answer and sends the reading again.
    expect(await (await submit(2)).json()).toMatchObject({ duplicates: 1 })
    expect((await values()).sort()).toEqual([1, 2])
    const all = { received: 4, stored: 2, spooled: 0, rejected: 0, duplicates: 2 }
    expect(await account()).toMatchObject(all)
  })

  it('does not store readings that were deleted while they waited in the queue', async () => {
    await register('deleted')
    const headers = { 'Content-Type': 'application/json', 'X-API-Key': device.api_key }
    const submit = (n: number) =>
      fetch(`${httpUrl}/api/v1/devices/telemetry`, { method: 'POST', headers, body: JSON.stringify({ n }) })
    telemetry.trouble.word = openInflux ? '/api/v2/write' : 'INSERT INTO readings'
    expect((await submit(1)).status).toBe(202)
    telemetry.trouble.word = undefined
    const stop = new Date(Date.now() + 1000).toISOString()
    await admin('DELETE', `telemetry/${device.id}?start_time=2020-01-01T00:00:00Z&stop_time=${stop}`)
    expect((await submit(2)).status).toBe(201)
    const [message] = await sqs.receive()
    expect(await deliver({ ...record({}), body: message?.Body ?? '' })).toEqual([])
    expect(await values()).toEqual([2])
    expect(await account()).toMatchObject({ received: 2, stored: 2 })
  })

  it.runIf(openInflux)(
    'makes a dead letter of the one reading that the store refuses, and can replay it',
    async () => {
      await register('refused')
      telemetry.trouble.word = '/api/v2/write'
      const response = await fetch(`${httpUrl}/api/v1/devices/telemetry`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'X-API-Key': device.api_key },
        body: JSON.stringify([{ data: { n: 1 } }, { data: { n: 2, note: 'refuse-me' } }, { data: { n: 3 } }]),
      })
      expect(response.status).toBe(202)
      const [message] = await sqs.receive()
      Object.assign(telemetry.trouble, { word: 'refuse-me', status: 400 })
      expect(await deliver({ ...record({}), body: message?.Body ?? '' })).toEqual([])
      expect(await values()).toEqual([1, 3])
      expect(await account()).toMatchObject({ received: 3, stored: 2, rejected: 1, duplicates: 0 })
      Object.assign(telemetry.trouble, { word: undefined, status: 503 })
      const { dead_letters: letters } = (await admin('GET', `admin/dead-letters?device_id=${device.id}`)) as {
        dead_letters: { id: number; topic: string; rejected: number }[]
      }
      expect(letters).toMatchObject([{ topic: `iotflow/devices/${device.id}/telemetry`, rejected: 1 }])
      await admin('POST', `admin/dead-letters/${letters[0]?.id}/replay`)
      expect(await values()).toEqual([1, 2, 3])
      expect(await account()).toMatchObject({ received: 3, stored: 3, rejected: 0, duplicates: 0 })
    },
  )
}

describeWith(needs, 'the ingest function in the cloud', ingestFunction())
describeWith(
  { ...needs, influxdb: influxIsThere },
  'the ingest function in the cloud, with InfluxDB',
  ingestFunction(ownBucket),
)
