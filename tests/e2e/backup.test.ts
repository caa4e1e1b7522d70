import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { runIotflow } from '../support/iotflow.ts'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeAll(async () => {
  folder = await temporaryFolder()
})
afterAll(() => folder.remove())

const unlimited = {
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
  RATE_LIMIT_IP_PER_MINUTE: '0',
  LOG_LEVEL: 'warn',
}

/** Devices that send without a pause, over HTTP and MQTT, and note what is acknowledged. */
class Load {
  readonly acknowledged = new Map<number, number[]>()
  readonly #senders: Promise<void>[]
  #ended = false

  constructor(server: StandaloneServer, overHttp: readonly Device[], overMqtt: readonly Device[]) {
    this.#senders = [
      ...overHttp.map((device) =>
        this.#send(device, async (n) => {
          const { status } = await server.request('POST', '/api/v1/telemetry', {
            key: device.key,
            body: { n },
          })
          return status === 201
        }),
      ),
      ...overMqtt.map(async (device) => {
        const client = await server.mqtt(device)
        await this.#send(device, async (n) => {
          await client.publishAsync(`iotflow/devices/${device.id}/telemetry`, JSON.stringify({ n }), {
            qos: 1,
          })
          return true
        })
        await client.endAsync()
      }),
    ]
  }

  get count(): number {
    return [...this.acknowledged.values()].reduce((sum, { length }) => sum + length, 0)
  }

  async end(): Promise<void> {
    this.#ended = true
    await Promise.all(this.#senders)
  }

  async #send({ id }: Device, one: (n: number) => Promise<boolean>): Promise<void> {
    const sent: number[] = []
    this.acknowledged.set(id, sent)
    for (let n = 0; !this.#ended; n++) if (await one(n)) sent.push(n)
  }
}

const accountOf = async (server: StandaloneServer) => {
  const { body } = await server.request('GET', '/api/v1/telemetry/status')
  return body.accounting as Record<'received' | 'stored' | 'spooled' | 'rejected' | 'duplicates', number>
}

it('a backup under load holds what was acknowledged before it began, and its restore works as the server did', async () => {
  const server = await startStandaloneServer({ settings: unlimited })
  const file = join(folder.path, 'under-load.backup')
  const devices = await Promise.all(Array.from({ length: 8 }, () => server.register()))
  const load = new Load(server, devices.slice(0, 4), devices.slice(4))
  while (load.count < 500) await sleep(50)
  const letter = await server.deadLetter(devices[0]?.id ?? 0, '{"n":')
  const before = new Map([...load.acknowledged].map(([id, sent]) => [id, [...sent]]))
  const { code, err } = await runIotflow(['backup', file], { dataDir: server.dataDir })
  expect([code, err]).toEqual([0, ''])
  await load.end()
  expect(load.count).toBeGreaterThan([...before.values()].flat().length)
  await server.stop()

  const dataDir = join(folder.path, 'restored')
  const restored = await runIotflow(['restore', file], { dataDir })
  expect([restored.code, restored.err]).toEqual([0, ''])
  const again = await startStandaloneServer({ settings: { ...unlimited, DATA_DIR: dataDir } })
  try {
    let found = 0
    for (const { id, key } of devices) {
      const seen = new Set<number>()
      let cursor = ''
      do {
        const path = `/api/v1/telemetry/${id}?start_time=-1d&limit=10000${cursor && `&cursor=${cursor}`}`
        const { body } = await again.request('GET', path, { key })
        for (const { n } of body.data) seen.add(n)
        cursor = body.next_cursor ?? ''
      } while (cursor !== '')
      expect((before.get(id) ?? []).filter((n) => !seen.has(n))).toEqual([])
      found += seen.size
    }
    const { received, stored, spooled, rejected, duplicates } = await accountOf(again)
    expect(received).toBe(stored + spooled + rejected + duplicates)
    expect(stored).toBe(found)
    const [first] = devices
    expect(
      (await again.request('POST', '/api/v1/telemetry', { key: first?.key ?? '', body: { n: 0 } })).status,
    ).toBe(201)
    expect((await again.stored()).deadLetters).toBe(1)
    expect(letter).toBeGreaterThan(0)
    process.stdout.write(
      `${[...before.values()].flat().length} were acknowledged before the backup, ${found} are in it\n`,
    )
  } finally {
    await again.stop()
  }
})

it('a restore is refused while the server runs', async () => {
  const server = await startStandaloneServer({ settings: unlimited })
  try {
    const file = join(folder.path, 'running.backup')
    expect((await runIotflow(['backup', file], { dataDir: server.dataDir })).code).toBe(0)
    expect(await runIotflow(['restore', file, '--yes'], { dataDir: server.dataDir })).toMatchObject({
      code: 1,
      err: expect.stringContaining('is in use by another IoTFlow'),
    })
  } finally {
    await server.stop()
  }
})

it('a copy of the database files of a running server is not started as if nothing were missing', async () => {
  const { cp, mkdir, readdir } = await import('node:fs/promises')
  const server = await startStandaloneServer({ settings: unlimited })
  const copy = join(folder.path, 'copy')
  await mkdir(copy)
  try {
    const device = await server.register()
    for (let n = 0; n < 20; n++)
      await server.request('POST', '/api/v1/telemetry', { key: device.key, body: { n } })
    for (const name of await readdir(server.dataDir))
      if (name.endsWith('.db')) await cp(join(server.dataDir, name), join(copy, name))
  } finally {
    await server.stop()
  }
  await expect(startStandaloneServer({ settings: { ...unlimited, DATA_DIR: copy } })).rejects.toThrow(
    /registry\.db comes from another data directory and was copied without databases\.json[\s\S]*telemetry\.db comes from/,
  )
  expect(await runIotflow(['doctor'], { dataDir: copy })).toMatchObject({
    code: 1,
    out: expect.stringContaining('telemetry.db comes from another data directory'),
  })
  expect((await runIotflow(['doctor', '--accept-data', '--yes'], { dataDir: copy })).code).toBe(0)
  const accepted = await startStandaloneServer({ settings: { ...unlimited, DATA_DIR: copy } })
  await accepted.stop()
})
