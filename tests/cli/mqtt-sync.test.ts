import { connectAsync } from 'mqtt'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { accountCommands } from '../../lib/broker/dynamic-security.ts'
import { defaultTopics } from '../../lib/mqtt/topics.ts'
import { connectMosquitto } from '../../local/mqtt/mosquitto/client.ts'
import { describeWith } from '../support/backends.ts'
import { runIotflow } from '../support/iotflow.ts'
import { answerMs, hasMosquitto, type MosquittoServer, startMosquitto } from '../support/mosquitto.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'

describeWith({ mosquitto: hasMosquitto }, 'iotflow mqtt sync', () => {
  let mosquitto: MosquittoServer
  let server: StandaloneServer
  let settings: Record<string, string>
  beforeAll(async () => {
    mosquitto = await startMosquitto()
    const { url, username, password } = mosquitto.serverLogin
    settings = { MQTT_URL: url, MQTT_USERNAME: username, MQTT_PASSWORD: password }
    server = await startStandaloneServer({ settings })
  })
  afterAll(async () => {
    await server?.stop()
    await mosquitto?.end()
  })

  const connects = async (id: number, password: string) => {
    const login = { username: String(id), password, clientId: String(id), reconnectPeriod: 0 }
    try {
      await (await connectAsync(mosquitto.url, login)).endAsync()
      return true
    } catch {
      return false
    }
  }
  const sync = (...args: string[]) =>
    runIotflow(['mqtt', 'sync', ...args], { dataDir: server.dataDir, settings })

  it('removes accounts of devices that are not registered, and a dry run only names them', async () => {
    const device = await server.register()
    const client = connectMosquitto(mosquitto.serverLogin, answerMs)
    await client.ready
    await client.sendCommands(accountCommands(defaultTopics, 4711, 'key of a stranger'))
    await client.close()
    expect(await sync('--dry-run')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^1 accounts of deleted devices would be removed, /),
    })
    expect(await connects(4711, 'key of a stranger')).toBe(true)
    expect(await sync()).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^1 accounts of deleted devices removed, rights of 0 repaired/),
    })
    expect(await connects(4711, 'key of a stranger')).toBe(false)
    expect(await connects(device.id, device.key)).toBe(true)
    expect(await sync()).toMatchObject({ code: 0, out: expect.stringMatching(/^0 accounts/) })
  })

  it('tells that the broker refuses the account of the server', async () => {
    const wrong = { ...settings, MQTT_PASSWORD: 'wrong' }
    expect(await runIotflow(['mqtt', 'sync'], { dataDir: server.dataDir, settings: wrong })).toEqual({
      code: 1,
      out: '',
      err: 'The broker of MQTT_URL refuses the connection: check its address, MQTT_USERNAME and MQTT_PASSWORD.\n',
    })
  })
})
