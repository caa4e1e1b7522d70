import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Ended, runAtTerminal, runIotflow } from '../support/iotflow.ts'
import { type Device, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'

let server: StandaloneServer
let folder: Awaited<ReturnType<typeof temporaryFolder>>
let one: Device
let two: Device
beforeAll(async () => {
  server = await startStandaloneServer()
  folder = await temporaryFolder()
  one = await server.register('field one')
  two = await server.register('field two')
  for (const [device, field] of [
    [one, 'temperature'],
    [two, 'moisture'],
  ] as const) {
    const body = [3, 2, 1].map((n) => ({ values: { [field]: n, note: 'a,"b"' }, age_ms: n * 60_000 }))
    const { status, text } = await server.request('POST', '/api/v1/telemetry', { key: device.key, body })
    expect(status, text).toBe(201)
  }
})
afterAll(async () => {
  await server?.stop()
  await folder?.remove()
})

const run = (...args: string[]) => runIotflow(args, { dataDir: server.dataDir })
const json = ({ code, out, err }: Ended) => {
  expect(err).toBe('')
  expect(code).toBe(0)
  return JSON.parse(out)
}

describe('iotflow telemetry', () => {
  it('query shows readings, newest first, as a table', async () => {
    const { code, out } = await run('telemetry', 'query', 'field one')
    expect(code).toBe(0)
    const rows = out.trim().split('\n')
    expect(rows[0]).toMatch(/^timestamp +note +temperature$/)
    expect(rows.slice(1).map((row) => row.split(' ').at(-1))).toEqual(['1', '2', '3'])
    const oldest = json(
      await run(
        'telemetry',
        'query',
        String(one.id),
        '--oldest-first',
        '--limit',
        '2',
        '--fields',
        'temperature',
        '--json',
      ),
    )
    expect(oldest.map((reading: { temperature: number }) => reading.temperature)).toEqual([3, 2])
  })

  it('latest and aggregate show values', async () => {
    expect((await run('telemetry', 'latest', 'field one')).out).toMatch(/^temperature +1$/m)
    const args = ['--field', 'temperature', '--aggregation', 'sum', '--window', '1d', '--since', '-2d']
    const { data } = json(await run('telemetry', 'aggregate', 'field one', ...args, '--json'))
    expect(data.reduce((sum: number, { value }: { value: number }) => sum + value, 0)).toBe(6)
    expect((await run('telemetry', 'aggregate', 'field one', ...args)).out).toMatch(/^timestamp +value$/m)
  })

  it('fleet shows one field of the devices that a selector means', async () => {
    await run('device', 'label', 'field one', 'site=fleet')
    await run('device', 'label', 'field two', 'site=fleet')
    const args = ['fleet', '--field', 'temperature', '--selector', 'site=fleet']
    const latest = await run('telemetry', ...args)
    expect(latest.out).toMatch(/^ *id +name +time +value$/m)
    expect(latest.out).toMatch(/field one +\S+Z +1$/m)
    expect(latest.out).toMatch(/field two +- +-$/m)
    const series = json(
      await run('telemetry', ...args, '--aggregation', 'sum', '--window', '1d', '--since', '-2d', '--json'),
    )
    expect(series.map(({ device_name }: { device_name: string }) => device_name)).toEqual([
      'field one',
      'field two',
    ])
    expect(series[0].data.reduce((sum: number, { value }: { value: number }) => sum + value, 0)).toBe(6)
    const text = await run('telemetry', 'fleet', '--field', 'note', '--aggregation', 'mean')
    expect(text.err).toMatch(/^Device \d+, field (one|two), sends text in this field\.$/m)
    expect(json(await run('telemetry', ...args, '--limit', '1', '--json'))).toHaveLength(1)
  })

  it('export writes several devices, whose fields differ, as CSV and NDJSON', async () => {
    const file = join(folder.path, 'readings.csv')
    const ended = await run('telemetry', 'export', 'field one', 'field two', '--out', file)
    expect(ended).toEqual({ code: 0, out: '', err: `6 readings of 2 devices are in ${file}.\n` })
    const lines = (await readFile(file, 'utf8')).trim().split('\r\n')
    expect(lines[0]).toBe('device_id,device_name,timestamp,moisture,note,temperature,metadata')
    expect(lines[1]).toMatch(/^\d+,field one,[^,]+,,"a,""b""",3,$/)
    expect(lines).toHaveLength(7)
    const { out } = await run('telemetry', 'export', '--all', '--format', 'ndjson', '--fields', 'moisture')
    expect(
      out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toMatchObject([3, 2, 1].map((moisture) => ({ device_id: two.id, device_name: 'field two', moisture })))
    expect(await run('telemetry', 'export')).toMatchObject({ code: 2, err: 'Name the devices, or --all.\n' })
  })

  it('import names the rows of NDJSON that are no objects, and refuses a file that is not UTF-8', async () => {
    const [file, keys] = [join(folder.path, 'bad.ndjson'), join(folder.path, 'keys-of-one.csv')]
    await writeFile(keys, `id,name,api_key\n${one.id},,${one.key}\n`)
    await writeFile(file, 'null\n[]\n{bad\n')
    const { code, out, err } = await run('telemetry', 'import', file, '--keys', keys, '--json')
    expect([code, err]).toEqual([1, '3 rows were not stored.\n'])
    expect(JSON.parse(out).errors.map(({ reason }: { reason: string }) => reason)).toEqual([
      'must be a JSON object',
      'must be a JSON object',
      'is not valid JSON',
    ])
    await writeFile(file, Buffer.from(`{"device_id":${one.id},"place":"Küche"}`, 'latin1'))
    expect(await run('telemetry', 'import', file, '--keys', keys)).toMatchObject({
      code: 2,
      err: `${file} is not UTF-8: save it as UTF-8.\n`,
    })
  })

  it('delete asks, and deletes the range', async () => {
    const [newest] = json(await run('telemetry', 'query', 'field two', '--json'))
    const args = ['telemetry', 'delete', 'field two', '--since', '-1d', '--until', newest.timestamp]
    expect(await run(...args)).toMatchObject({
      code: 2,
      err: 'Nobody can be asked here: --yes confirms it.\n',
    })
    const { code, out } = await runAtTerminal(args, [['confirm: ', 'field two\n']], {
      dataDir: server.dataDir,
    })
    expect([code, out]).toEqual([0, expect.stringContaining('are deleted.')])
    expect(json(await run('telemetry', 'query', 'field two', '--json'))).toEqual([newest])
  })
})

describe('iotflow dead-letters', () => {
  it('list, show, replay and discard', async () => {
    const good = await server.deadLetter(one.id, '{"temperature":77}')
    const bad = await server.deadLetter(one.id, '{"temperature":')
    const { out } = await run('dead-letters', 'list', '--device', 'field one')
    expect(out).toMatch(new RegExp(`^ *${bad} .*Put here by a test`, 'm'))
    expect((await run('dead-letters', 'show', String(bad))).out).toContain('{"temperature":')
    const replayed = await run('dead-letters', 'replay', String(good), String(bad))
    expect(replayed).toMatchObject({ code: 1, err: 'Not every message could be stored.\n' })
    expect(replayed.out).toMatch(new RegExp(`^${good} +stored$`, 'm'))
    expect((await run('dead-letters', 'discard', String(bad))).out).toBe('1 messages are deleted.\n')
    expect(json(await run('dead-letters', 'list', '--json'))).toEqual([])
    expect(await run('dead-letters', 'show', String(bad))).toMatchObject({ code: 4 })
  })
})
