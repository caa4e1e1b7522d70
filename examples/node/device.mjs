/**
 * A device over MQTT: it registers over HTTP with the client of this package, and sends readings with MQTT.js.
 *
 *   node examples/node/device.mjs NAME [SECONDS BETWEEN READINGS] [NUMBER OF READINGS]
 *
 * IOTFLOW_URL names the server; ENROLLMENT_KEY is needed where not everybody may register.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { freemem, loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { answerOf, createClient } from 'iotflow-serverless/client'
import { connectAsync } from 'mqtt'

const [, , name = 'node-device', interval = '10', count = '0'] = process.argv
const url = process.env.IOTFLOW_URL ?? 'http://localhost:5000'
const keyFile = `${name}.key`

/** The key of an earlier start, or that of a new device: the server shows it once. */
const apiKey = await readFile(keyFile, 'utf8').catch(async () => {
  const installer = createClient({ url, enrollmentKey: process.env.ENROLLMENT_KEY })
  const body = { name, device_type: 'computer' }
  const { device } = await answerOf(installer.POST('/api/v1/devices/register', { body }))
  await writeFile(keyFile, device.api_key, { mode: 0o600 })
  return device.api_key
})

// The server says where its broker is and which topics this device has.
const { credentials } = await answerOf(createClient({ url, apiKey }).GET('/api/v1/devices/mqtt-credentials'))
const { mqtt_host: host, mqtt_port: port, mqtt_tls_port: tlsPort, topics } = credentials
const client = await connectAsync({
  protocol: port === null ? 'mqtts' : 'mqtt',
  host,
  port: port ?? tlsPort,
  clientId: credentials.client_id,
  username: credentials.username,
  password: apiKey,
  // When the connection breaks, the broker says for the device that it is offline.
  will: { topic: topics.status_offline, payload: Buffer.from('{"status":"offline"}'), qos: 1, retain: true },
})
await client.publishAsync(topics.status_online, '{"status":"online"}', { qos: 1, retain: true })

for (let sent = 1; ; sent += 1) {
  const reading = { load: loadavg()[0], free_memory: freemem() }
  // The promise waits for the acknowledgement: the reading is on the disk of the server.
  await client.publishAsync(topics.telemetry_publish, JSON.stringify(reading), { qos: 1 })
  console.log(`${sent} acknowledged`)
  if (sent === Number(count)) break
  await sleep(Number(interval) * 1000)
}
await client.publishAsync(topics.status_offline, '{"status":"offline"}', { qos: 1, retain: true })
await client.endAsync()
