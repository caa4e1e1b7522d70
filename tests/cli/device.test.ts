import { once } from 'node:events'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root } from '../../lib/root.ts'
import { lockDataDir } from '../../local/data-dir.ts'
import { type Ended, runAtTerminal, runIotflow, runLine } from '../support/iotflow.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'

let server: StandaloneServer
let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeAll(async () => {
  server = await startStandaloneServer()
  folder = await temporaryFolder()
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
const create = async (name: string) =>
  json(await run('device', 'create', name, '--type', 'sensor', '--json')) as { id: number; api_key: string }
const works = async (key: string) =>
  (await server.request('GET', '/api/v1/devices/status', { key })).status === 200

describe('iotflow device', () => {
  it('create registers a device and prints its key once', async () => {
    const { code, out, err } = await run(
      'device',
      'create',
      'pump 1',
      '--type',
      'pump',
      '--location',
      'Cellar',
    )
    expect([code, err]).toEqual([0, ''])
    const key = /^API key +(\S{32})$/m.exec(out)?.[1] ?? ''
    expect(await works(key)).toBe(true)
    const shown = json(await run('device', 'show', 'pump 1', '--json'))
    expect(shown.device).toMatchObject({ name: 'pump 1', device_type: 'pump', location: 'Cellar' })
    expect(JSON.stringify(shown)).not.toContain(key)
    expect(await run('device', 'create', 'pump 1', '--type', 'pump')).toEqual({
      code: 1,
      out: '',
      err: 'The device was not registered: name is taken.\n',
    })
  })

  it('list shows every device that fits, as a table', async () => {
    await create('list-1')
    const { id } = await create('list-2')
    await run('device', 'set-status', 'list-2', 'inactive')
    const { out } = await run('device', 'list', '--q', 'list-')
    const lines = out.split('\n').map((line) => line.split(/ {2,}/).map((cell) => cell.trim()))
    expect(lines[0]).toEqual(['id', 'name', 'type', 'status', 'online', 'location', 'last seen'])
    expect(out).toMatch(/list-1 +sensor +active/)
    expect(out).toMatch(/list-2 +sensor +inactive/)
    const inactive = json(await run('device', 'list', '--status', 'inactive', '--json'))
    expect(inactive.map((device: { id: number }) => device.id)).toContain(id)
    expect((await run('device', 'list', '--q', 'nothing like this')).out).toBe('There are none.\n')
  })

  it('show finds a name however its letters are composed', async () => {
    const { id } = await create('Bj\u00f6rn')
    expect(json(await run('device', 'show', 'Bjo\u0308rn', '--json')).device.id).toBe(id)
  })

  it('edit changes fields, and an empty text clears one', async () => {
    const { id } = await create('edit-1')
    expect((await run('device', 'edit', String(id), '--location', 'Roof', '--offline-after', '60')).out).toBe(
      `Device ${id}, edit-1, is changed.\n`,
    )
    const changed = json(
      await run('device', 'edit', 'edit-1', '--location', '', '--name', 'edit-2', '--json'),
    )
    expect(changed).toMatchObject({ id, name: 'edit-2', location: null, offline_after_s: 60 })
    expect(await run('device', 'edit', 'edit-2')).toMatchObject({
      code: 2,
      err: expect.stringMatching(/nothing to change/),
    })
  })

  it('label sets and removes labels, and list and export select by them', async () => {
    const { id } = await create('label-1')
    const made = ['device', 'create', 'label-2', '--type', 'sensor', '--labels', 'site=cli-south,floor=']
    expect((await run(...made)).code).toBe(0)
    const label = (...texts: string[]) => run('device', 'label', 'label-1', ...texts)
    expect((await label('site=cli-north', 'floor=2')).out).toBe(
      `Device ${id}, label-1, has site=cli-north,floor=2.\n`,
    )
    expect((await label('floor-')).out).toBe(`Device ${id}, label-1, has site=cli-north.\n`)
    expect(await label('site')).toMatchObject({
      code: 2,
      err: expect.stringContaining('not by "site"'),
    })
    expect(await label('site=far north')).toMatchObject({
      code: 2,
      err: expect.stringContaining('labels.site'),
    })
    expect((await run('device', 'show', 'label-1')).out).toMatch(/^labels +site=cli-north$/m)
    const names = async (selector: string) =>
      json(await run('device', 'list', '--selector', selector, '--json')).map(
        ({ name }: { name: string }) => name,
      )
    expect(await names('site in (cli-north, cli-south)')).toEqual(['label-1', 'label-2'])
    expect(await names('site=cli-south,floor=')).toEqual(['label-2'])
    expect(await run('device', 'list', '--selector', 'site==x')).toMatchObject({
      code: 2,
      err: expect.stringContaining('character 6'),
    })
    const file = join(folder.path, 'labelled.csv')
    await run('device', 'export', '--selector', 'site=cli-south', '--out', file)
    expect(await readFile(file, 'utf8')).toContain('"site=cli-south,floor="')
    await run('device', 'label', 'label-2', 'site=moved', 'more=1')
    json(await run('device', 'import', file, '--upsert', '--json'))
    expect(json(await run('device', 'show', 'label-2', '--json')).device.labels).toEqual({
      site: 'cli-south',
      floor: '',
      more: '1',
    })
    const { out } = await run('device', 'export', '--selector', 'more=1', '--format', 'ndjson')
    expect(JSON.parse(out).labels).toEqual({ site: 'cli-south', floor: '', more: '1' })
    expect((await label('site-')).out).toBe(`Device ${id}, label-1, has no label.\n`)
  })

  it('rotate-key and revoke-key change which key works', async () => {
    const { id, api_key: first } = await create('keys-1')
    const { api_key: second } = json(await run('device', 'rotate-key', 'keys-1', '--grace', '0', '--json'))
    expect([await works(first), await works(second)]).toEqual([false, true])
    expect((await run('device', 'revoke-key', String(id))).out).toMatch(
      /^\d keys of device \d+, keys-1, are revoked\.$/m,
    )
    expect(await works(second)).toBe(false)
  })

  it('set-status says what it was and what it is', async () => {
    const { id } = await create('status-1')
    expect((await run('device', 'set-status', 'status-1', 'maintenance')).out).toBe(
      `Device ${id}, status-1, was active and is maintenance.\n`,
    )
    expect(await run('device', 'set-status', 'status-1', 'broken')).toMatchObject({
      code: 2,
      err: expect.stringContaining('maintenance'),
    })
  })

  it('delete asks at a terminal, and is refused elsewhere without --yes', async () => {
    const { id } = await create('gone-1')
    const options = { dataDir: server.dataDir }
    expect(await run('device', 'delete', 'gone-1')).toEqual({
      code: 2,
      out: '',
      err: 'Nobody can be asked here: --yes confirms it.\n',
    })
    const kept = await runAtTerminal(['device', 'delete', 'gone-1'], [['confirm: ', 'no\n']], options)
    expect([kept.code, kept.out]).toEqual([1, expect.stringContaining('Nothing was changed.')])
    const deleted = await runAtTerminal(['device', 'delete', 'gone-1'], [['confirm: ', 'gone-1\n']], options)
    expect([deleted.code, deleted.out]).toEqual([
      0,
      expect.stringContaining(`Device ${id}, gone-1, is deleted.`),
    ])
    expect(await run('device', 'show', 'gone-1')).toMatchObject({
      code: 4,
      err: 'There is no device gone-1.\n',
    })
  })

  it('import refuses a file that cannot be read, and leaves no file for its keys', async () => {
    const [file, keys] = [join(folder.path, 'latin-1.csv'), join(folder.path, 'no-keys.csv')]
    const refused = async (err: string) => {
      expect(await run('device', 'import', file, '--keys', keys)).toEqual({ code: 2, out: '', err })
      await expect(stat(keys)).rejects.toThrow('ENOENT')
    }
    await refused(`${file} cannot be read (ENOENT).\n`)
    await writeFile(file, Buffer.from('name,device_type\nBjörn,sensor\n', 'latin1'))
    await refused(`${file} is not UTF-8: save it as UTF-8.\n`)
    await writeFile(file, 'name,type\nx,sensor\n')
    await refused(
      'The file cannot be read: its first row must name the columns, and device_type is not there.\n',
    )
  })

  it('import reads its own export, names bad rows, and writes the keys into a file', async () => {
    const file = join(folder.path, 'fleet.csv')
    const rows = Array.from({ length: 1500 }, (_, at) => `import-${at},sensor,"two\nlines"`)
    await writeFile(file, ['name,device_type,description', ...rows, 'bad,,', 'import-7,sensor,'].join('\n'))
    expect((await run('device', 'import', file, '--dry-run')).out).toMatch(
      /^\d+ devices would be registered, 0 would be changed, \d+ rows with errors\.$/m,
    )
    const keys = join(folder.path, 'keys.csv')
    const { code, out, err } = await run('device', 'import', file, '--keys', keys)
    expect([code, err]).toEqual([1, '2 rows were not imported.\n'])
    expect(out).toContain('1500 devices registered, 0 changed, 2 rows with errors.')
    expect(out).toMatch(/^1502 +bad +device_type is missing$/m)
    expect(out).toMatch(/^1503 +import-7 +name is taken/m)
    const lines = (await readFile(keys, 'utf8')).trim().split('\r\n')
    expect(lines).toHaveLength(1501)
    expect((await stat(keys)).mode & 0o777).toBe(0o600)
    expect(await works(lines.at(-1)?.split(',')[2] ?? '')).toBe(true)
    expect(await run('device', 'import', file, '--keys', keys)).toMatchObject({
      code: 2,
      err: `--keys: ${keys} exists already.\n`,
    })
    const exported = join(folder.path, 'export.csv')
    expect(await run('device', 'export', '--out', exported)).toMatchObject({
      code: 0,
      err: expect.stringContaining('devices are in'),
    })
    const again = json(await run('device', 'import', exported, '--upsert', '--json'))
    expect(again).toMatchObject({ created: 0, errors: [], keys: [] })
    expect(again.updated).toBeGreaterThanOrEqual(1500)
  })
})

describe('what is wrong is one sentence', () => {
  it.each<[string, string[], number, RegExp]>([
    [
      'an unknown command',
      ['device', 'frobnicate'],
      2,
      /^unknown command 'frobnicate'; --help shows what there is\.$/,
    ],
    ['an unknown option', ['device', 'list', '--frobnicate'], 2, /^unknown option '--frobnicate'.*\.$/],
    ['a missing argument', ['device', 'show'], 2, /^missing required argument 'device'.*\.$/],
    ['a device that is not there', ['device', 'show', '999999'], 4, /^There is no such device\.$/],
    ['a value that the server refuses', ['device', 'edit', '1', '--timezone', 'Mars/Base'], 2, /timezone/],
    [
      'a server that does not answer',
      ['--url', 'http://127.0.0.1:2', 'status'],
      3,
      /does not answer \(ECONNREFUSED\)\.$/,
    ],
    [
      'an address with a password',
      ['--url', 'http://me:secret@127.0.0.1:2', 'status'],
      2,
      /^--url must not hold a name or a password: [^@]*$/,
    ],
    [
      'a command that works here only',
      ['--url', 'http://127.0.0.1:2', 'logs'],
      2,
      /^This command works on the data directory of this machine: run it there, without --url\.$/,
    ],
    [
      'a copy elsewhere',
      ['--url', 'http://127.0.0.1:2', 'telemetry', 'copy', '--from', 'embedded', '--to', 'influxdb'],
      2,
      /^A copy works on the data directory of this machine/,
    ],
    ['an address that is none', ['--url', 'localhost', 'status'], 2, /^--url must be an address/],
    ['a token file that is not there', ['--token-file', '/nowhere', 'status'], 2, /cannot be read/],
  ])('for %s', async (_what, args, code, message) => {
    const ended = await runIotflow(args, {
      dataDir: server.dataDir,
      ...(args.includes('http://127.0.0.1:2')
        ? { settings: { ADMIN_TOKEN: 'a token of this test, long enough' } }
        : {}),
    })
    expect([ended.code, ended.out]).toEqual([code, ''])
    expect(ended.err.trim().split('\n')).toHaveLength(1)
    expect(ended.err.trim()).toMatch(message)
  })

  it('for a token in .env, which is not sent to a server elsewhere', async () => {
    const token = (await readFile(join(server.dataDir, 'admin-token'), 'utf8')).trim()
    await writeFile(join(folder.path, '.env'), `ADMIN_TOKEN=${token}\n`)
    const line = `env -u ADMIN_TOKEN node "${fileURLToPath(new URL('cli/bin.mjs', root))}"`
    const options = { dataDir: server.dataDir, cwd: folder.path }
    expect(await runLine(`${line} status`, options)).toMatchObject({ code: 0 })
    expect(await runLine(`${line} --url ${server.httpUrl} status`, options)).toMatchObject({
      code: 1,
      err: expect.stringContaining('There is no admin token'),
    })
  })

  it('for a wrong token, and where no server runs', async () => {
    const settings = { ADMIN_TOKEN: 'a wrong token of this test' }
    expect(await runIotflow(['status'], { dataDir: server.dataDir, settings })).toEqual({
      code: 1,
      out: '',
      err: 'The server refuses the admin token.\n',
    })
    expect(await runIotflow(['status'], { dataDir: folder.path })).toMatchObject({
      code: 3,
      err: expect.stringContaining(`No server runs on ${folder.path}`),
    })
  })

  it('sends the token to the address of --url only', async () => {
    const asked: string[] = []
    const other = createServer((request, response) => {
      asked.push(`${request.url} ${request.headers.authorization}`)
      response.writeHead(307, { Location: `${server.httpUrl}/moved` }).end()
    }).listen(0, '127.0.0.1')
    await once(other, 'listening')
    const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`
    const settings = { ADMIN_TOKEN: 'a token of twenty-four characters' }
    expect(
      await runIotflow(['--url', url, 'device', 'show', '1'], { dataDir: folder.path, settings }),
    ).toEqual({ code: 3, out: '', err: `${url} refers to another address: name that one with --url.\n` })
    expect(asked).toEqual(['/api/v1/admin/devices/1 Bearer a token of twenty-four characters'])
    other.close()
  })

  it('does not ask the address of a server that was killed', async () => {
    const killed = join(folder.path, 'killed')
    await mkdir(killed)
    await writeFile(join(killed, 'server.json'), JSON.stringify({ url: server.httpUrl, pid: 1 }))
    await writeFile(join(killed, 'admin-token'), await readFile(join(server.dataDir, 'admin-token')))
    const unlock = await lockDataDir(killed)
    expect(await runIotflow(['device', 'list'], { dataDir: killed })).toEqual({
      code: 3,
      out: '',
      err: `The process that uses ${killed} serves no HTTP, or is not ready yet.\n`,
    })
    unlock()
  })

  it('reaches a server by --url with a token from a file or the environment', async () => {
    const token = (await readFile(join(server.dataDir, 'admin-token'), 'utf8')).trim()
    const file = join(folder.path, 'token')
    await writeFile(file, `${token}\n`)
    const elsewhere = { dataDir: folder.path }
    const byFile = ['--url', server.httpUrl, '--token-file', file, 'status', '--json']
    expect(json(await runIotflow(byFile, elsewhere)).url).toBe(server.httpUrl)
    const byEnvironment = ['--url', server.httpUrl, 'status', '--json']
    expect(
      json(await runIotflow(byEnvironment, { ...elsewhere, settings: { ADMIN_TOKEN: token } })).health.status,
    ).toBe('healthy')
    expect(await runIotflow(byEnvironment, elsewhere)).toMatchObject({
      code: 1,
      err: expect.stringContaining('no admin token'),
    })
  })
})
