/** Two instances share one registry and one Mosquitto. When the one that runs the bridge is killed, the other one takes it over. */
import { setTimeout as sleep } from 'node:timers/promises'
import { connectAsync, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import { hasMosquitto, type MosquittoServer, startMosquitto } from '../support/mosquitto.ts'
import { findSqld, type Sqld, startSqld } from '../support/sqld.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { eventually } from '../support/waiting.ts'

describeWith({ mosquitto: hasMosquitto, sqld: findSqld() !== undefined }, 'two instances', () => {
  let sqld: Sqld
  let mosquitto: MosquittoServer
  let client: MqttClient | undefined
  const servers: StandaloneServer[] = []
  beforeAll(async () => {
    ;[sqld, mosquitto] = await Promise.all([startSqld(), startMosquitto()])
    const { url, username, password } = mosquitto.serverLogin
    for (let n = 0; n < 2; n += 1)
      servers.push(
        await startStandaloneServer({
          settings: {
            DATABASE_URL: sqld.url,
            MQTT_URL: url,
            MQTT_USERNAME: username,
            MQTT_PASSWORD: password,
            LOG_LEVEL: 'info',
            RATE_LIMIT_PER_MINUTE: '0',
            RATE_LIMIT_IP_PER_MINUTE: '0',
          },
        }),
      )
  })
  afterAll(async () => {
    await client?.endAsync(true)
    // The killed instance left only its folder.
    for (const server of servers) await server.stop().catch(() => {})
    await mosquitto?.end()
    await sqld?.stop()
  })

  it('the second one takes the bridge over, and stores messages that were acknowledged meanwhile', async () => {
    const bridges = () =>
      servers.filter((server) => server.log().some(({ msg }) => msg === 'connected to the broker'))
    const leader = await eventually(() => {
      const [first, ...others] = bridges()
      if (first === undefined) throw new Error('no instance has the bridge')
      expect(others).toEqual([])
      return first
    })
    const standby = servers.find((server) => server !== leader) as StandaloneServer
    const device = await standby.register()
    client = await connectAsync(mosquitto.url, {
      reconnectPeriod: 0,
      username: `${device.id}`,
      password: device.key,
    })
    const publish = (n: number) =>
      client?.publishAsync(`iotflow/devices/${device.id}/telemetry`, JSON.stringify({ n }), { qos: 1 })
    const stored = async () => {
      const path = `/api/v1/telemetry/${device.id}?start_time=-1h&order=asc`
      const { status, text, body } = await standby.request('GET', path, { key: device.key })
      expect(status, text).toBe(200)
      return (body.data as { n: number }[]).map(({ n }) => n)
    }

    await publish(1)
    await eventually(async () => expect(await stored()).toEqual([1]))
    // After several tries of the waiting instance, the leader still has the bridge.
    await sleep(6000)
    expect(bridges()).toEqual([leader])
    leader.kill('SIGKILL')
    await leader.ended
    for (let n = 2; n <= 11; n += 1) await publish(n)
    const all = Array.from({ length: 12 }, (_, n) => n + 1)
    await eventually(async () => expect(await stored()).toEqual(all.slice(0, 11)))
    await publish(12)
    await eventually(async () => expect(await stored()).toEqual(all))
    expect(standby.log().filter(({ msg }) => msg === 'connected to the broker')).toHaveLength(1)
  })
})
