import { once } from 'node:events'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { runIotflow, startIotflow } from '../support/iotflow.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'

let server: StandaloneServer
beforeAll(async () => {
  server = await startStandaloneServer()
})
afterAll(() => server?.stop())

it('mqtt watch shows what devices send, and ends after --count messages', async () => {
  const device = await server.register()
  const client = await server.mqtt(device)
  const topic = `iotflow/devices/${device.id}/telemetry`
  const { child, ended } = startIotflow(['mqtt', 'watch', `iotflow/devices/${device.id}/#`, '--count', '2'], {
    dataDir: server.dataDir,
  })
  if (child.stderr) await once(child.stderr, 'data')
  await client.publishAsync(topic, '{"t":1}', { qos: 1 })
  await client.publishAsync(`${topic}/sensors\u001b[31m`, 'no JSON \u0007', { qos: 1 })
  const { code, out } = await ended
  expect(code).toBe(0)
  expect(out.trim().split('\n')).toEqual([
    expect.stringMatching(new RegExp(`^\\S+Z  ${device.id}  ${topic}  \\{"t":1\\}$`)),
    expect.stringMatching(new RegExp(`^\\S+Z  ${device.id}  ${topic}/sensors \\[31m  no JSON`)),
  ])
  expect(out).not.toMatch(/[\u0007\u001b]/)
  await client.endAsync()
})

it('mqtt publish reaches a device', async () => {
  const device = await server.register()
  const client = await server.mqtt(device)
  const topic = `iotflow/devices/${device.id}/commands`
  await client.subscribeAsync(topic, { qos: 1 })
  const received = new Promise<[string, Buffer]>((resolve) =>
    client.once('message', (to, payload) => resolve([to, payload])),
  )
  const ended = await runIotflow(['mqtt', 'publish', topic, '{"blink":true}'], { dataDir: server.dataDir })
  expect(ended).toEqual({ code: 0, out: `Published to ${topic}.\n`, err: '' })
  const [to, payload] = await received
  expect([to, payload.toString()]).toEqual([topic, '{"blink":true}'])
  await client.endAsync()
  expect(await runIotflow(['mqtt', 'publish', topic], { dataDir: server.dataDir })).toMatchObject({
    code: 2,
    err: 'Name a payload, or --file.\n',
  })
})

it('mqtt sync says when there is no Mosquitto', async () => {
  expect(await runIotflow(['mqtt', 'sync', '--dry-run'], { dataDir: server.dataDir })).toMatchObject({
    code: 1,
    err: 'MQTT_URL names no broker: there is nothing to compare with.\n',
  })
})
