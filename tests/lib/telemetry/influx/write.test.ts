/** What the writer asks of the client library, where a server of plain http cannot show it. */
import type { InfluxDB, SendOptions } from '@influxdata/influxdb-client'
import { expect, it } from 'vitest'
import { createLog } from '../../../../lib/log.ts'
import { FieldKinds } from '../../../../lib/telemetry/influx/field-kinds.ts'
import { InfluxWriter } from '../../../../lib/telemetry/influx/write.ts'

const optionsFor = async (url: string): Promise<SendOptions> => {
  const sent: SendOptions[] = []
  const transport = {
    async request(
      _path: string,
      _body: string,
      options: SendOptions,
      onStart: (headers: object, status: number) => void,
    ) {
      sent.push(options)
      onStart({}, 204)
    },
  }
  const connection = { url, token: 'secret', org: 'org', bucket: 'bucket' }
  const kinds = new FieldKinds(async () => undefined, 60_000)
  const writer = new InfluxWriter(
    { transport } as unknown as InfluxDB,
    connection,
    kinds,
    createLog('silent'),
  )
  const reading = { time: 1n, fields: { v: 1 }, metadata: undefined }
  const entry = { deviceId: 1, deviceType: 'sensor', location: null, receivedAt: 1, readings: [reading] }
  expect(await writer.write([entry])).toEqual([{ refused: [] }])
  return sent[0] as SendOptions
}

it('compresses requests of 1000 bytes and more over https, where they may go far', async () => {
  expect((await optionsFor('https://influx.example:8086')).gzipThreshold).toBe(999)
  expect((await optionsFor('http://127.0.0.1:8086')).gzipThreshold).toBeUndefined()
})

it('sends batches side by side, but those that share a device one after the other', async () => {
  const sent: string[] = []
  const answers: (() => void)[] = []
  const transport = {
    request: (
      _path: string,
      body: string,
      _options: SendOptions,
      onStart: (_: object, status: number) => void,
    ) =>
      new Promise<void>((resolve) => {
        const [, device = ''] = /device_id=(\d+)/.exec(body) ?? []
        sent.push(device)
        answers.push(() => {
          onStart({}, 204)
          resolve()
        })
      }),
  }
  const connection = { url: 'http://127.0.0.1:1', token: 'secret', org: 'org', bucket: 'bucket' }
  const kinds = new FieldKinds(async () => undefined, 60_000)
  const client = { transport } as unknown as InfluxDB
  const writer = new InfluxWriter(client, connection, kinds, createLog('silent'))
  const write = (deviceId: number) => {
    const reading = { time: 1n, fields: { v: 1 }, metadata: undefined }
    return writer.write([
      { deviceId, deviceType: 'sensor', location: null, receivedAt: 1, readings: [reading] },
    ])
  }
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  const writes = [write(1), write(1), write(2)]
  await turn()
  expect(sent).toEqual(['1', '2'])
  answers[0]?.()
  await turn()
  expect(sent).toEqual(['1', '2', '1'])
  const closed = writer.close()
  answers[1]?.()
  answers[2]?.()
  expect(await Promise.all(writes)).toHaveLength(3)
  await closed
})
