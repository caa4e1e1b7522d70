/** The example of a device in Python, with Eclipse Paho, does what its comments say over MQTT 3.1.1 and 5. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { root } from '../../lib/root.ts'
import { describeWith } from '../support/backends.ts'
import { pahoPython } from '../support/programs.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { eventually } from '../support/waiting.ts'

const python = pahoPython ?? ''
const example = fileURLToPath(new URL('examples/python/mqtt_device.py', root))
const adminToken = 'admin-token-of-the-paho-example'

describeWith({ paho: pahoPython !== undefined }, 'the example with Paho', () => {
  let server: StandaloneServer
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  beforeAll(async () => {
    folder = await temporaryFolder()
    server = await startStandaloneServer({
      settings: { ADMIN_TOKEN: adminToken, RATE_LIMIT_IP_PER_MINUTE: '0', RATE_LIMIT_PER_MINUTE: '0' },
    })
  })
  afterAll(async () => {
    await server?.stop()
    await folder?.remove()
  })

  const asAdmin = async (method: string, path: string, body?: unknown) =>
    (await server.request(method, path, { headers: { Authorization: `Bearer ${adminToken}` }, body })).body

  const start = async (name: string, version: string) => {
    const args = ['--url', server.httpUrl, '--name', name, '--mqtt-version', version, '--interval', '0.2']
    const child: ChildProcess = spawn(python, [example, ...args, '--keys', join(folder.path, `${name}.json`)])
    onTestFinished(() => void child.kill('SIGKILL'))
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk) => {
        said += chunk
      })
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
    await eventually(() => expect(said).toContain('connected\n'))
    return {
      said: () => said,
      async stop() {
        child.kill('SIGINT')
        expect(await exited, said).toBe(0)
      },
    }
  }

  it.each(['3.1.1', '5'])('speaks MQTT %s', async (version) => {
    const name = `paho-${version}`
    const first = await start(name, version)
    const { devices } = await asAdmin('GET', `/api/v1/admin/devices?q=${name}`)
    const [{ id }] = devices as [{ id: number }]
    const path = `/api/v1/admin/devices/${id}`
    const send = async (command: string, params?: object): Promise<string> =>
      (await asAdmin('POST', `${path}/commands`, { command, params })).command_id
    const ends = (commandId: string, status: string) =>
      eventually(async () => {
        const { command } = await asAdmin('GET', `${path}/commands/${commandId}`)
        expect(command).toMatchObject({ status, acknowledged_at: expect.any(String) })
        return command.result
      })

    expect(await ends(await send('ping'), 'succeeded')).toEqual({ pong: true })
    expect(await ends(await send('set_interval', { seconds: 0.1 }), 'succeeded')).toEqual({ seconds: 0.1 })
    expect(await ends(await send('fly'), 'failed')).toEqual({ error: 'there is no command fly' })
    await asAdmin('PUT', `${path}/config`, { configuration: { sampling_interval: 0.3, unit: 'C' } })
    await eventually(async () => {
      expect(await asAdmin('GET', `${path}/config`)).toMatchObject({ version: 1, reported_version: 1 })
    })
    await eventually(async () => {
      const { body } = await server.request('GET', `/api/v1/telemetry/${id}/latest`)
      expect(body.latest_data).toMatchObject({ temperature: expect.any(Number) })
    })
    await first.stop()
    await eventually(async () => {
      const [listed] = (await asAdmin('GET', `/api/v1/admin/devices?q=${name}`)).devices
      expect(listed.is_online).toBe(false)
    })

    const waiting = await send('ping')
    const second = await start(name, version)
    expect(await ends(waiting, 'succeeded')).toEqual({ pong: true })
    expect((await asAdmin('GET', `/api/v1/admin/devices?q=${name}`)).total_devices).toBe(1)
    await second.stop()
    expect(second.said().match(/command ping/g)).toHaveLength(1)
  })
})
