import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { runIotflow } from '../support/iotflow.ts'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'

let server: StandaloneServer
beforeAll(async () => {
  server = await startStandaloneServer()
})
afterAll(() => server?.stop())

const run = (...args: string[]) => runIotflow(['command', ...args], { dataDir: server.dataDir })

/** Connects a device that answers every command. */
const answering = async (device: Device, answer: { status: string; result?: unknown }) => {
  const base = `iotflow/devices/${device.id}/commands`
  const client = await server.mqtt(device)
  onTestFinished(async () => void (await client.endAsync(true)))
  client.on('message', (_topic, payload) => {
    const { command_id } = JSON.parse(payload.toString()) as { command_id: string }
    void (async () => {
      await client.publishAsync(`${base}/response`, JSON.stringify({ command_id, status: 'acknowledged' }), {
        qos: 1,
      })
      await client.publishAsync(`${base}/response`, JSON.stringify({ command_id, ...answer }), { qos: 1 })
    })()
  })
  await client.subscribeAsync(base, { qos: 1 })
}

describe('a command', () => {
  it('with --wait shows each state with its time, and the result', async () => {
    const device = await server.register()
    await answering(device, { status: 'succeeded', result: { percent: 40 } })
    const { code, out, err } = await run('send', device.name, 'open', '{"percent":40}', '--wait')
    expect(code, err).toBe(0)
    expect(err).toMatch(/^Command \S+ is queued; Ctrl-C ends the waiting, not the command\.\n$/)
    expect(out.trim().split('\n')).toEqual([
      expect.stringMatching(/^\S+Z {2}queued$/),
      expect.stringMatching(/^\S+Z {2}sent$/),
      expect.stringMatching(/^\S+Z {2}acknowledged$/),
      expect.stringMatching(/^\S+Z {2}succeeded$/),
      '{"percent":40}',
    ])
  })

  it('that fails, or that nobody answers, ends --wait with exit code 1', async () => {
    const device = await server.register()
    const expired = await run('send', device.name, 'open', '--ttl', '1', '--wait')
    expect([expired.code, expired.err.split('\n')[1]]).toEqual([1, 'The command is expired.'])
    await answering(device, { status: 'failed' })
    const failed = await run('send', device.name, 'open', '--wait', '--json')
    expect([failed.code, JSON.parse(failed.out).status]).toEqual([1, 'failed'])
  })

  it('is listed, shown and cancelled', async () => {
    const device = await server.register()
    const sent = await run('send', device.name, 'open', '--channel', 'control', '--json')
    const { command_id: id } = JSON.parse(sent.out)
    const listed = await run('list', device.name, '--status', 'queued')
    expect(listed.out).toContain(id)
    const shown = await run('show', device.name, id)
    expect(shown.out).toMatch(/^channel +control$/m)
    expect(await run('cancel', device.name, id)).toMatchObject({
      code: 0,
      out: `Command ${id} is cancelled.\n`,
    })
    expect((await run('cancel', device.name, id)).code).toBe(0)
    expect((await run('show', device.name, 'no-such-command')).code).toBe(4)
    expect((await run('list', device.name, '--status', 'queued')).out).toBe('There are none.\n')
  })

  it.each([
    [['{oops'], 'The parameters must be JSON'],
    [['--ttl', 'long'], '--ttl must be a whole number'],
    [['--channel', 'radio'], 'channel: must be one of'],
  ])('is refused with %s', async (more, sentence) => {
    const device = await server.register()
    const { code, err } = await run('send', device.name, 'open', ...more)
    expect([code, err]).toEqual([2, expect.stringContaining(sentence)])
  })
})

describe('a fleet command', () => {
  it('with --wait shows its progress', async () => {
    const devices = [await server.register(), await server.register()]
    for (const device of devices) await answering(device, { status: 'succeeded' })
    const ids = devices.map(({ id }) => id).join(',')
    const { code, out, err } = await run('fleet-send', 'ping', '--ids', ids, '--canary', '1', '--wait')
    expect(code, err).toBe(0)
    expect(err).toMatch(/^Fleet command \S+ goes to 2 devices\./)
    expect(out.trim().split('\n').at(-1)).toBe('finished: 2 succeeded')
  })

  it('is listed, shown with its devices, and cancelled', async () => {
    const device = await server.register()
    const sent = await run('fleet-send', 'ping', '--ids', `${device.id}`, '--json')
    const { fleet_command_id: id } = JSON.parse(sent.out)
    expect((await run('fleet-list')).out).toContain(id)
    const shown = await run('fleet-show', id)
    expect(shown.out).toMatch(/^progress +1 queued$/m)
    expect(shown.out).toMatch(new RegExp(`^ +${device.id} +\\S+ +queued`, 'm'))
    expect((await run('fleet-cancel', id)).out).toBe(`Fleet command ${id} is cancelled: 1 cancelled.\n`)
  })

  it.each([
    [[], 'Name the devices'],
    [['--all', '--canary', '0'], '--canary must be a whole number'],
    [['--all', '--abort-share', '3'], '--abort-share must be a share'],
    [['--type', 'no such type'], 'fits no device'],
    [['--selector', 'site=nowhere'], 'fits no device'],
    [['--selector', 'site=='], 'at character 6'],
  ])('is refused with %s', async (more, sentence) => {
    const { code, err } = await run('fleet-send', 'ping', ...more)
    expect([code, err]).toEqual([2, expect.stringContaining(sentence)])
  })
})
