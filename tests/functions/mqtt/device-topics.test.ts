import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { defaultTopics } from '../../../lib/mqtt/topics.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForReaders } from '../telemetry/readers.ts'

let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions({ PUBLIC_TELEMETRY_READS: 'false' })
})
afterAll(() => functions.close())

const topics = (id: number | string, options: Parameters<TestFunctions['call']>[3]) =>
  functions.call('mqtt-device-topics', 'GET', `/api/v1/mqtt/topics/device/${id}`, options)

itIsForReaders(() => functions, topics)

describe('the topics of a device', () => {
  it('are those of mqtt-credentials, and the subtopics that older clients know', async () => {
    const { id, key } = await functions.register()
    const { status, json } = await topics(id, { key })
    expect([status, json.status, json.device_id]).toEqual([200, 'success', id])
    const base = `iotflow/devices/${id}`
    expect(json.topics.telemetry[0]).toEqual({
      name: 'device_telemetry',
      path: `${base}/telemetry`,
      qos: 1,
      retain: false,
      description: expect.any(String),
    })
    const listed = Object.values<{ path: string }[]>(json.topics).flat()
    expect(json.total_topics).toBe(listed.length)
    const paths = listed.map(({ path }) => path)
    for (const end of ['telemetry/sensors', 'commands', 'commands/control', 'status/online', 'config'])
      expect(paths).toContain(`${base}/${end}`)
    const { credentials } = (
      await functions.call('devices-mqtt-credentials', 'GET', '/api/v1/devices/mqtt-credentials', { key })
    ).json
    expect(json.credentials).toEqual(credentials)
    const { fleet_notices_subscribe: _, ...own } = credentials.topics
    expect(paths).toEqual(expect.arrayContaining(Object.values(own)))
  })

  it('and its names are told to an operator without a use of its key', async () => {
    const { id } = await functions.register()
    const { json } = await topics(id, { admin: true })
    expect(json.credentials).toMatchObject({ username: String(id), client_id: `iotflow-device-${id}` })
    const shown = await functions.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, { admin: true })
    expect(shown.json).toMatchObject({ auth_records: [{ last_used_at: null }], device: { last_seen: null } })
  })

  it('that are telemetry are taken as telemetry', async () => {
    const { id, key } = await functions.register()
    for (const { path } of (await topics(id, { key })).json.topics.telemetry)
      expect(defaultTopics.parse(path)).toMatchObject({ deviceId: id, kind: 'telemetry' })
  })

  it('are not listed for a deleted device', async () => {
    const { id, key } = await functions.register()
    await functions.call('telemetry-submit', 'POST', '/api/v1/telemetry', { key, body: { t: 1 } })
    await functions.call('admin-delete', 'DELETE', `/api/v1/admin/devices/${id}`, { admin: true })
    expect((await topics(id, { admin: true })).status).toBe(404)
  })
})
