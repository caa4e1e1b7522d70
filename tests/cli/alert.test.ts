import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Ended, runAtTerminal, runIotflow, startIotflow } from '../support/iotflow.ts'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { until } from '../support/waiting.ts'

let server: StandaloneServer
beforeAll(async () => {
  server = await startStandaloneServer()
})
afterAll(() => server?.stop())

const run = (...args: string[]) => runIotflow(['alert', ...args], { dataDir: server.dataDir })
const json = ({ code, out, err }: Ended) => {
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out)
}

const createRule = async (name: string, ...args: string[]) =>
  json(await run('rule-create', name, ...args, '--json')) as { id: number }

let seconds = 0
/** A reading that is newer than the ones before. */
const send = async (device: Device, temperature: number) => {
  seconds += 1
  const timestamp = new Date(Date.UTC(2026, 0, 1) + seconds * 1000).toISOString()
  const body = { temperature, timestamp }
  const { status } = await server.request('POST', '/api/v1/telemetry', { key: device.key, body })
  expect(status).toBe(201)
}

interface ListedAlert {
  readonly id: number
  readonly state: string
  readonly rule_id: number
}
const listed = async (...args: string[]): Promise<ListedAlert[]> => json(await run('list', ...args, '--json'))

/** A device of which an alert is open. */
const openAlert = async (name: string) => {
  const device = await server.register()
  const rule = await createRule(name, '--when', 'temperature > 30', '--device', String(device.id))
  await send(device, 31.5)
  await until(async () => (await listed('--rule', String(rule.id))).length === 1, 'the alert is open')
  const [alert] = await listed('--rule', String(rule.id))
  return { device, rule, id: String(alert?.id) }
}

describe('an alert rule', () => {
  it('is made, listed, shown, changed, disabled, enabled and deleted', async () => {
    const made = await run(
      'rule-create',
      'Too warm',
      ...['--when', 'temperature > 30', '--for', '5m', '--clear', '28', '--severity', 'critical'],
      ...['--type', 'boiler', '--selector', 'site=north,floor!=2'],
    )
    expect([made.code, made.err]).toEqual([0, ''])
    const id = /^id +(\d+)$/m.exec(made.out)?.[1] ?? ''
    expect(made.out).toMatch(/^condition +temperature > 30 for 5m, clears at 28$/m)
    expect(made.out).toMatch(/^devices +type boiler, site=north,floor!=2$/m)
    const list = await run('rule-list')
    expect(list.out).toMatch(
      new RegExp(
        `^ *${id} +Too warm +yes +critical +type boiler, site=north,floor!=2 +temperature > 30 `,
        'm',
      ),
    )
    expect((await run('rule-show', id)).out).toBe(made.out)

    const changed = json(await run('rule-update', id, '--for', '10m', '--clear', '', '--all', '--json'))
    expect(changed).toMatchObject({ name: 'Too warm', severity: 'critical', revision: 2, target: {} })
    expect(changed.condition).toEqual({
      kind: 'threshold',
      field: 'temperature',
      op: '>',
      value: 30,
      for: '10m',
    })
    expect(json(await run('rule-update', id, '--name', 'Hot', '--json'))).toMatchObject({ name: 'Hot' })
    expect(await run('rule-update', id)).toMatchObject({
      code: 2,
      err: expect.stringContaining('nothing to change'),
    })

    expect((await run('rule-disable', id)).out).toBe(`Alert rule ${id}, Hot, is disabled.\n`)
    expect((await run('rule-show', id)).out).toMatch(/^enabled +no$/m)
    expect((await run('rule-enable', id)).out).toBe(`Alert rule ${id}, Hot, is enabled.\n`)

    expect(await run('rule-delete', id)).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringContaining('--yes'),
    })
    const options = { dataDir: server.dataDir }
    const kept = await runAtTerminal(['alert', 'rule-delete', id], [['confirm: ', 'no\n']], options)
    expect([kept.code, kept.out]).toEqual([1, expect.stringContaining('Nothing was changed.')])
    const gone = await runAtTerminal(['alert', 'rule-delete', id], [['confirm: ', 'Hot\n']], options)
    expect([gone.code, gone.out]).toEqual([0, expect.stringContaining(`Alert rule ${id}, Hot, is deleted.`)])
    expect((await run('rule-show', id)).code).toBe(4)
  })

  it('takes a device by its name', async () => {
    const device = await server.register()
    const rule = json(
      await run('rule-create', 'Silent', '--no-data', '10m', '--device', device.name, '--json'),
    )
    expect(rule).toMatchObject({
      target: { device_id: device.id },
      condition: { kind: 'no_data', for: '10m' },
      severity: 'warning',
      enabled: true,
    })
    const offline = json(await run('rule-create', 'Offline', '--offline', '--disabled', '--json'))
    expect(offline).toMatchObject({ enabled: false, condition: { kind: 'offline' }, target: {} })
  })

  it.each([
    [[], 'Name a condition', 2],
    [['--when', 'temperature = 3'], '--when must be a field', 2],
    [['--when', 'temperature > warm'], 'value', 2],
    [['--no-data', 'soon'], 'for', 2],
    [['--offline', '--severity', 'bad'], 'severity', 2],
    [['--offline', '--selector', 'a=b=c'], 'selector', 2],
    [['--offline', '--device', 'no such device'], 'There is no device', 4],
  ])('is refused with %s', async (more, sentence, exit) => {
    const { code, out, err } = await run('rule-create', 'wrong', ...more)
    expect([code, out, err]).toEqual([exit, '', expect.stringContaining(sentence)])
  })
})

describe('an alert', () => {
  it('is listed, shown, acknowledged and noted, and cleared alerts stay listed', async () => {
    const { device, id } = await openAlert('warm-1')
    const list = await run('list', '--open', '--device', device.name)
    expect(list.out).toMatch(
      new RegExp(`^ *${id} +open +warning +warm-1 +${device.name} +temperature > 30 +\\S+Z +31\\.5 `, 'm'),
    )
    const acknowledged = await run('ack', id, '--note', 'The fan is being replaced.')
    expect(acknowledged).toEqual({ code: 0, out: `Alert ${id}, warm-1, is acknowledged.\n`, err: '' })
    expect(await run('note', id, 'Spare part ordered.')).toEqual({
      code: 0,
      out: `Alert ${id}, warm-1, has the note.\n`,
      err: '',
    })
    const shown = await run('show', id)
    expect(shown.out).toMatch(/^state +acknowledged$/m)
    expect(shown.out).toMatch(/^\S+Z +acknowledged +The fan is being replaced\.$/m)
    expect(shown.out).toMatch(/^\S+Z +note +Spare part ordered\.$/m)
    const ids = async (...args: string[]) =>
      (await listed(...args, '--device', device.name)).map((one) => one.id)
    expect(await ids('--open')).toEqual([Number(id)])
    const status = await runIotflow(['status'], { dataDir: server.dataDir })
    expect(status.out).toMatch(/^alerts +\d+ open: \d+ critical, [1-9]\d* warning, \d+ info$/m)
    expect(await ids('--state', 'open')).toEqual([])

    await send(device, 20)
    await until(async () => (await ids('--open')).length === 0, 'the alert is cleared')
    expect(await ids('--state', 'cleared')).toEqual([Number(id)])
    expect((await run('show', id)).out).toMatch(/^because +condition$/m)
  })

  it('that nobody knows, and options that contradict each other, are refused', async () => {
    expect((await run('show', '999999')).code).toBe(4)
    expect((await run('ack', '999999')).code).toBe(4)
    expect(await run('list', '--open', '--state', 'cleared')).toMatchObject({ code: 2 })
    expect(await run('list', '--state', 'hot')).toMatchObject({
      code: 2,
      err: expect.stringContaining('state'),
    })
    expect((await run('list', '--limit', '0')).code).toBe(2)
  })

  it('is shown by watch as it opens, is acknowledged, and is cleared', async () => {
    const before = await openAlert('warm-2')
    const { child, ended } = startIotflow(['alert', 'watch', '--count', '4'], { dataDir: server.dataDir })
    if (child.stderr) await once(child.stderr, 'data')
    const { device, id } = await openAlert('warm-3')
    // Each state is there for longer than two looks.
    await run('ack', id, '--note', 'I see it.')
    await send(device, 20)
    await send(before.device, 21)
    const { code, out } = await ended
    expect(code).toBe(0)
    const lines = out.trim().split('\n')
    expect(lines).toHaveLength(4)
    expect(lines.filter((line) => line.includes('warm-3'))).toEqual([
      expect.stringMatching(
        new RegExp(
          `^\\S+Z {2}opened {8}${id} {2}warning {2}warm-3 {2}${device.name} {2}temperature > 30 {2}31\\.5$`,
        ),
      ),
      expect.stringMatching(new RegExp(`^\\S+Z {2}acknowledged {2}${id} .* {2}I see it\\.$`)),
      expect.stringMatching(new RegExp(`^\\S+Z {2}cleared {7}${id} `)),
    ])
    expect(lines.filter((line) => line.includes('warm-2'))).toEqual([
      expect.stringMatching(new RegExp(`^\\S+Z {2}cleared {7}${before.id} `)),
    ])
    expect(await run('ack', before.id)).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/cleared/),
    })
  })

  it('with --json is one object in each line of watch', async () => {
    const { child, ended } = startIotflow(['alert', 'watch', '--count', '1', '--json'], {
      dataDir: server.dataDir,
    })
    if (child.stderr) await once(child.stderr, 'data')
    const { id } = await openAlert('warm-4')
    const { code, out } = await ended
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ what: 'opened', alert: { id: Number(id), rule_name: 'warm-4' } })
  })
})
