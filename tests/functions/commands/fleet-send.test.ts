import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { type RecordingBroker, startRecordingBroker } from '../../support/recording-broker.ts'
import { eventually } from '../../support/waiting.ts'
import { send, sent, showFleet } from './fleet-requests.ts'

let functions: TestFunctions
let broker: RecordingBroker
beforeAll(async () => {
  broker = await startRecordingBroker()
  functions = await openFunctions({}, broker.iot)
})
beforeEach(() => broker.clear())
afterAll(async () => {
  await functions.close()
  await broker.close()
})

describe('a fleet command that is sent', () => {
  it.each<[string, object]>([
    ['no credential', {}],
    ['a wrong token', { headers: { Authorization: 'Bearer wrong-token-of-nobody-0123456789' } }],
  ])('is refused with %s', async (_what, options) => {
    const answer = await send(functions, { command: 'ping', filter: { all: true } }, options)
    expect([answer.status, answer.json.error.code]).toEqual([401, 'UNAUTHORIZED'])
  })

  it('is published to each device on its own topic, not retained, before it is answered', async () => {
    const [one, other, third] = [
      await functions.register(),
      await functions.register(),
      await functions.register(),
    ]
    const answer = await send(functions, {
      command: 'open',
      params: { percent: 40 },
      channel: 'control',
      filter: { ids: [one.id, other.id, one.id] },
    })
    expect([answer.status, answer.json]).toEqual([
      202,
      {
        status: 'success',
        message: 'Fleet command accepted',
        fleet_command_id: expect.any(String),
        targets: 2,
        canaries: 0,
      },
    ])
    await eventually(() => expect(broker.published).toHaveLength(2))
    expect(broker.published.map(({ topic, retain, qos }) => [topic, retain, qos]).sort()).toEqual([
      [`iotflow/devices/${one.id}/commands/control`, false, 1],
      [`iotflow/devices/${other.id}/commands/control`, false, 1],
    ])
    const messages = broker.published.map(({ payload }) => JSON.parse(payload))
    expect(new Set(messages.map(({ command_id }) => command_id)).size).toBe(2)
    for (const message of messages)
      expect(message).toMatchObject({ command: 'open', params: { percent: 40 } })
    expect(broker.published.some(({ topic }) => topic.includes(`/${third.id}/`))).toBe(false)
  })

  it('is stored although the broker is unavailable', async () => {
    const { id } = await functions.register()
    broker.unavailable = true
    const fleet = await sent(functions, [id])
    expect((await showFleet(functions, fleet)).json.fleet_command.progress).toMatchObject({ queued: 1 })
    broker.unavailable = false
  })

  it('goes to every device only when that is said', async () => {
    await functions.register()
    const { json } = await functions.call('admin-list', 'GET', '/api/v1/admin/devices', { admin: true })
    const answer = await send(functions, { command: 'ping', filter: { all: true } })
    expect([answer.status, answer.json.targets]).toEqual([202, json.total_devices])
  })

  it('goes to the devices that a selector means, and shows it', async () => {
    const north = await functions.register({ labels: { site: 'north', floor: '1' } })
    await functions.register({ labels: { site: 'north', floor: '2' } })
    await functions.register({ labels: { site: 'south' } })
    const filter = { device_type: 'sensor', selector: 'site=north, floor!=2' }
    const answer = await send(functions, { command: 'ping', channel: 'config', filter })
    expect([answer.status, answer.json.targets]).toEqual([202, 1])
    const { fleet_command } = (await showFleet(functions, answer.json.fleet_command_id)).json
    expect(fleet_command.filter).toEqual(filter)
    await eventually(() =>
      expect(
        broker.published.map(({ topic }) => topic).filter((topic) => topic.endsWith('/commands/config')),
      ).toEqual([`iotflow/devices/${north.id}/commands/config`]),
    )
  })

  it.each<[string, unknown, string[]]>([
    ['an empty selector', { command: 'ping', filter: { selector: '' } }, ['filter.selector']],
    ['a wrong selector', { command: 'ping', filter: { selector: 'site=/' } }, ['filter.selector']],
    ['no filter', { command: 'ping' }, ['filter']],
    ['an empty filter', { command: 'ping', filter: {} }, ['filter']],
    ['a misspelt filter', { command: 'ping', filter: { devicetype: 'pump' } }, ['filter']],
    ['all that is not true', { command: 'ping', filter: { all: false } }, ['filter.all']],
    ['a filter that fits nobody', { command: 'ping', filter: { device_type: 'nothing' } }, ['filter']],
    ['no command', { filter: { all: true } }, ['command']],
    ['a canary of 1.5 devices', { command: 'ping', filter: { all: true }, canary: 1.5 }, ['canary']],
    ['a canary of none', { command: 'ping', filter: { all: true }, canary: 0 }, ['canary']],
    [
      'a share above 1',
      { command: 'ping', filter: { all: true }, abort: { failed_share: 5 } },
      ['abort.failed_share'],
    ],
    ['a rate of none', { command: 'ping', filter: { all: true }, rate_per_s: 0 }, ['rate_per_s']],
    ['no ids', { command: 'ping', filter: { ids: [] } }, ['filter.ids']],
    [
      'too many parameters',
      { command: 'ping', filter: { all: true }, params: 'x'.repeat(140_000) },
      ['params'],
    ],
  ])('is refused with %s', async (_what, body, paths) => {
    await functions.register()
    const answer = await send(functions, body)
    const named = (answer.json.error.details ?? []).map(({ path }: { path: string }) => path)
    expect([answer.status, named]).toEqual([422, paths])
    expect(broker.published).toEqual([])
  })
})
