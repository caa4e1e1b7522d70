import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, openFunctions, type TestFunctions } from '../../support/functions.ts'
import { type RecordingBroker, startRecordingBroker } from '../../support/recording-broker.ts'
import { itIsForAdminsOnly } from './refusals.ts'

let functions: TestFunctions
let broker: RecordingBroker
beforeAll(async () => {
  broker = await startRecordingBroker()
  functions = await openFunctions({}, broker.iot)
})
afterAll(async () => {
  await functions.close()
  await broker.close()
})

const path = '/api/v1/admin/devices/import'
const send = (body: string, type = 'text/csv', query = '') =>
  functions.call('admin-import', 'POST', `${path}${query}`, {
    admin: true,
    body,
    headers: { 'Content-Type': type },
  })
const csv = (body: string, query = '') => send(body, 'text/csv', query)
const ndjson = (rows: readonly object[], query = '') =>
  send(rows.map((row) => JSON.stringify(row)).join('\n'), 'application/x-ndjson', query)
const show = async (id: number) =>
  (await functions.call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, { admin: true })).json
const events = async (id: number) =>
  (await functions.call('admin-events', 'GET', `/api/v1/admin/devices/${id}/events`, { admin: true })).json
    .events
const total = async () =>
  (await functions.call('admin-list', 'GET', '/api/v1/admin/devices', { admin: true })).json.total_devices
const statusWith = (key: string) => functions.call('devices-status', 'GET', '/api/v1/devices/status', { key })

itIsForAdminsOnly(
  () => functions,
  (options: CallOptions) =>
    functions.call('admin-import', 'POST', `${path}?dry_run`, {
      ...options,
      body: 'name,device_type\nrefusal,sensor\n',
      headers: { 'Content-Type': 'text/csv', ...options.headers },
    }),
)

describe('a CSV', () => {
  it('makes devices whose keys are accepted, with every registered field', async () => {
    const answer = await csv(
      [
        'Name,Device Type,description,location,firmware_version,hardware-version,timezone,status,offline_after_s,surplus',
        'csv-1,climate,"one, ""two""",Hall,1.2,B,Europe/Berlin,maintenance,60,x',
        'csv-2,climate,,,,,,,,',
      ].join('\r\n'),
    )
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      dry_run: false,
      created: 2,
      updated: 0,
      errors: [],
      keys: [
        {
          row: 2,
          id: expect.any(Number),
          name: 'csv-1',
          api_key: expect.stringMatching(/^[A-Za-z0-9]{32}$/),
        },
        {
          row: 3,
          id: expect.any(Number),
          name: 'csv-2',
          api_key: expect.stringMatching(/^[A-Za-z0-9]{32}$/),
        },
      ],
    })
    const [one, two] = answer.json.keys
    expect((await show(one.id)).device).toMatchObject({
      name: 'csv-1',
      device_type: 'climate',
      description: 'one, "two"',
      location: 'Hall',
      firmware_version: '1.2',
      hardware_version: 'B',
      timezone: 'Europe/Berlin',
      status: 'maintenance',
      offline_after_s: 60,
    })
    expect((await show(two.id)).device).toMatchObject({
      description: null,
      location: null,
      timezone: null,
      status: 'active',
      offline_after_s: 300,
    })
    expect((await statusWith(two.api_key)).json.device).toMatchObject({ id: two.id, name: 'csv-2' })
    expect(await events(two.id)).toMatchObject([{ event: 'registered', detail: { by: 'admin' } }])
    expect((await show(two.id)).auth_records).toHaveLength(1)
  })

  it('gives the keys of new devices the ends of their rows', async () => {
    const before = Date.now()
    const answer = await send(
      'name,device_type,ttl_s,expires_at\nend-1,t,60,\nend-2,t,,2030-01-01T00:00:00Z\nend-3,t,,\nend-4,t,5,2030-01-01T00:00:00Z\n',
    )
    expect(answer.json.errors).toEqual([
      { row: 5, name: 'end-4', reason: 'expires_at cannot stand beside ttl_s' },
    ])
    const ends = await Promise.all(
      answer.json.keys.map(async ({ id }: { id: number }) => (await show(id)).auth_records[0]),
    )
    expect(Date.parse(ends[0].expires_at)).toBeGreaterThanOrEqual(before + 60_000)
    expect(Date.parse(ends[0].expires_at)).toBeLessThanOrEqual(Date.now() + 60_000)
    expect(ends.slice(1).map(({ expires_at }) => expires_at)).toEqual(['2030-01-01T00:00:00Z', null])
  })

  it.each([
    ['semicolons', ';'],
    ['tabs', '\t'],
  ])('may have %s, and a byte order mark', async (what, separator) => {
    const rows = [
      ['name', 'device_type', 'location'],
      [`with ${what}`, 'a,b', 'x'],
    ]
    const answer = await csv(`\uFEFF${rows.map((row) => row.join(separator)).join('\n')}`)
    expect(answer.json).toMatchObject({ created: 1, errors: [], keys: [{ name: `with ${what}` }] })
    expect((await show(answer.json.keys[0].id)).device).toMatchObject({ device_type: 'a,b', location: 'x' })
  })

  it('has its bad rows named, and the good ones imported', async () => {
    await functions.register({ name: 'was here' })
    const answer = await csv(
      [
        'name,device_type,offline_after_s,timezone,status',
        'good-1,sensor,,,',
        ',sensor,,,',
        'no type,,,,',
        '',
        'bad zone,sensor,,Mars/Base,',
        'bad number,sensor,soon,,',
        'bad status,sensor,,,broken',
        'good-1,sensor,,,',
        'was here,sensor,,,',
        'too many,sensor,,,,,',
        'good-2,sensor',
      ].join('\n'),
    )
    expect(answer.json.keys.map(({ row, name }: { row: number; name: string }) => [row, name])).toEqual([
      [2, 'good-1'],
      [12, 'good-2'],
    ])
    expect(answer.json.created).toBe(2)
    expect(answer.json.errors).toEqual([
      { row: 3, reason: expect.stringContaining('name') },
      { row: 4, name: 'no type', reason: expect.stringContaining('device_type') },
      { row: 6, name: 'bad zone', reason: expect.stringContaining('timezone must be the IANA name') },
      { row: 7, name: 'bad number', reason: 'offline_after_s must be a whole number of seconds' },
      { row: 8, name: 'bad status', reason: 'status must be active, inactive or maintenance' },
      { row: 9, name: 'good-1', reason: 'name stands in row 2 of this file already' },
      { row: 10, name: 'was here', reason: 'name is taken' },
      { row: 11, name: 'too many', reason: 'has 7 cells, but the header 5' },
    ])
  })

  it.each<[string, string, RegExp]>([
    ['no required column', 'name,location\na,b\n', /device_type is not there/],
    ['a column twice', 'name,device_type,Name\na,b,c\n', /column name twice/],
    ['a quote that is not closed', 'name,device_type\n"a,b\nc,d\n', /quote near line/],
    ['a huge cell', `name,device_type\na,${'b'.repeat(70_000)}\n`, /the row near line 2 is too long/],
    ['no rows', 'name,device_type\n', /no rows/],
  ])('with %s is refused as a whole', async (_what, body, message) => {
    const before = await total()
    const answer = await csv(body)
    expect([answer.status, answer.json.error.code]).toEqual([422, 'VALIDATION_FAILED'])
    expect(answer.json.error.message).toMatch(message)
    expect(await total()).toBe(before)
  })
})

describe('labels', () => {
  const labelsOf = async (keys: readonly { id: number }[]) =>
    Promise.all(keys.map(async ({ id }) => (await show(id)).device.labels))

  it('come from one column, from columns of their own, and from objects', async () => {
    const answer = await csv(
      [
        'name,device_type,labels,Label.site,LABEL.rack-Unit_1',
        'l-csv-1,t,"floor=2, wing=",north,7',
        'l-csv-2,t,,south,',
        'l-csv-3,t,,,',
        'l-csv-4,t,"site=west,floor=1",east,',
      ].join('\n'),
    )
    expect(answer.json.errors).toEqual([])
    expect(await labelsOf(answer.json.keys)).toEqual([
      { floor: '2', wing: '', site: 'north', 'rack-Unit_1': '7' },
      { site: 'south' },
      {},
      { site: 'east', floor: '1' },
    ])
    const lines = await ndjson([
      { name: 'l-json-1', device_type: 't', labels: { site: 'north', floor: null } },
      { name: 'l-json-2', device_type: 't', labels: null },
      { name: 'l-json-3', device_type: 't', labels: 'site=far' },
    ])
    expect(await labelsOf(lines.json.keys)).toEqual([{ site: 'north' }, {}, { site: 'far' }])
  })

  it('are added to those of a device that exists, and null removes them', async () => {
    const [one, two, three] = [
      await functions.register({ labels: { site: 'north', floor: '1' } }),
      await functions.register({ labels: { site: 'north' } }),
      await functions.register({ labels: { site: 'north' } }),
    ]
    const answer = await ndjson(
      [
        { name: one.name, device_type: 't', labels: { floor: null, wing: 'a' } },
        { name: two.name, device_type: 't', labels: null },
        { name: three.name, device_type: 't' },
      ],
      '?upsert',
    )
    expect(answer.json).toMatchObject({ updated: 3, errors: [] })
    expect(await labelsOf([one, two, three])).toEqual([{ site: 'north', wing: 'a' }, {}, { site: 'north' }])
    expect((await events(one.id))[0]).toMatchObject({ detail: { fields: ['device_type', 'labels'] } })
    const found = await functions.call('admin-list', 'GET', '/api/v1/admin/devices?selector=wing%3Da', {
      admin: true,
    })
    expect(found.json.devices.map(({ id }: { id: number }) => id)).toEqual([one.id])
  })

  it('that are none are errors of their rows, in a dry run as well', async () => {
    const full = await functions.register({
      labels: Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`k${n}`, 'v'])),
    })
    const rows = [
      { name: 'l-bad-1', device_type: 't', labels: { site: 'far north' } },
      { name: 'l-bad-2', device_type: 't', labels: { '-site': 'a' } },
      { name: 'l-bad-3', device_type: 't', labels: 'site' },
      { name: full.name, device_type: 't', labels: { more: 'v' } },
    ]
    for (const query of ['?upsert&dry_run', '?upsert']) {
      const { errors } = (await ndjson(rows, query)).json
      expect(errors).toEqual([
        {
          row: 1,
          name: 'l-bad-1',
          reason: expect.stringMatching(/^labels\.site must be empty, or have 1 to 63/),
        },
        { row: 2, name: 'l-bad-2', reason: expect.stringMatching(/^labels\.-site is no key of a label/) },
        { row: 3, name: 'l-bad-3', reason: 'labels must be an object of texts, or key=value with commas' },
        { row: 4, name: full.name, reason: 'labels would be more than 32' },
      ])
    }
    const header = await csv('name,device_type,label.site,label.site\nx,t,a,b')
    expect([header.status, header.json.error.message]).toEqual([
      422,
      expect.stringContaining('names the column label.site twice'),
    ])
  })
})

describe('NDJSON', () => {
  it('keeps a description with half a pair of surrogates, which becomes U+FFFD', async () => {
    const row = { name: 'half', device_type: 't', description: 'a\ud800b' }
    const [{ id }] = (await ndjson([row])).json.keys
    expect((await show(id)).device.description).toBe('a\ufffdb')
    await ndjson([{ ...row, description: '\udc00c' }], '?upsert')
    expect((await show(id)).device.description).toBe('\ufffdc')
  })

  it('makes devices, and names bad lines', async () => {
    const answer = await send(
      '{"name":"line-1","device_type":"sensor","location":"Hall"}\n\n{"name":\n[]\n{"name":"line-5","device_type":"sensor"}\n',
      'application/x-ndjson; charset=utf-8',
    )
    expect(answer.json.keys.map(({ row, name }: { row: number; name: string }) => [row, name])).toEqual([
      [1, 'line-1'],
      [5, 'line-5'],
    ])
    expect(answer.json.errors).toEqual([
      { row: 3, reason: 'is not valid JSON' },
      { row: 4, reason: 'must be a JSON object' },
    ])
  })
})

describe('a dry run', () => {
  it('reports the same and changes nothing', async () => {
    const { id } = await functions.register({ name: 'dry' })
    const before = await total()
    const answer = await csv('name,device_type\ndry,other\ndry-2,sensor\n', '?dry_run&upsert=true')
    expect(answer.json).toEqual({
      status: 'success',
      dry_run: true,
      created: 1,
      updated: 1,
      errors: [],
      keys: [],
    })
    expect(await total()).toBe(before)
    expect((await show(id)).device.device_type).toBe('sensor')
  })
})

describe('with upsert', () => {
  it('changes what a row has, clears what it has as null, and keeps the key', async () => {
    const { id, key, name } = await functions.register({ location: 'Hall', description: 'old' })
    const answer = await ndjson([{ name, device_type: 'changed', location: null }], '?upsert')
    expect(answer.json).toMatchObject({ created: 0, updated: 1, errors: [], keys: [] })
    expect((await statusWith(key)).json.device).toMatchObject({
      id,
      device_type: 'changed',
      location: null,
      description: 'old',
    })
    expect(await events(id)).toMatchObject([
      { event: 'updated', detail: { by: 'admin', fields: ['device_type', 'location'] } },
      { event: 'registered' },
    ])
  })

  it('cuts off a device that becomes inactive', async () => {
    const { id, key, name } = await functions.register()
    const answer = await csv(`name,device_type,status\n${name},sensor,inactive\n`, '?upsert')
    expect(answer.json.updated).toBe(1)
    expect((await statusWith(key)).status).toBe(403)
    expect(broker.ended).toContain(String(id))
    expect(await events(id)).toMatchObject([
      { event: 'updated' },
      { event: 'status', detail: { by: 'admin', from: 'active', to: 'inactive' } },
      { event: 'registered' },
    ])
  })
})

describe('the limits', () => {
  it('are 10,000 rows', async () => {
    const rows = (count: number) => Array.from({ length: count }, (_, at) => `many-${at},sensor`).join('\n')
    const refused = await csv(`name,device_type\n${rows(10_001)}`)
    expect([refused.status, refused.json.error.code]).toEqual([413, 'PAYLOAD_TOO_LARGE'])
    const answer = await csv(`name,device_type\n${rows(10_000)}`)
    expect([answer.json.created, answer.json.errors, answer.json.keys.length]).toEqual([10_000, [], 10_000])
    const last = answer.json.keys.at(-1)
    expect(last).toMatchObject({ row: 10_001, name: 'many-9999' })
    expect((await statusWith(last.api_key)).json.device.id).toBe(last.id)
  })

  it('are 4 MiB', async () => {
    const line = `name-long,sensor,${'x'.repeat(1000)}\n`
    const answer = await csv(`name,device_type,description\n${line.repeat(4200)}`)
    expect([answer.status, answer.json.error.code]).toEqual([413, 'PAYLOAD_TOO_LARGE'])
  })

  it.each([
    ['application/json', 415],
    ['text/plain', 415],
  ])('refuses %s', async (type, status) => {
    expect((await send('{}', type)).status).toBe(status)
  })
})

describe('texts in any script', () => {
  const found = async (text: string): Promise<string[]> => {
    const query = `?q=${encodeURIComponent(text)}`
    const { json } = await functions.call('admin-list', 'GET', `/api/v1/admin/devices${query}`, {
      admin: true,
    })
    return json.devices.map(({ name }: { name: string }) => name)
  }

  it('are found in upper and lower case, also after a change', async () => {
    expect((await ndjson([{ name: 'GÄRTEN-1', device_type: 'x', location: 'ÜBERWALD' }])).json.created).toBe(
      1,
    )
    expect(await found('gärten')).toEqual(['GÄRTEN-1'])
    expect(await found('überwald')).toEqual(['GÄRTEN-1'])
    await ndjson([{ name: 'GÄRTEN-1', device_type: 'x', location: 'ÖLBERG' }], '?upsert')
    expect(await found('ölberg')).toEqual(['GÄRTEN-1'])
    expect(await found('überwald')).toEqual([])
  })

  it('make one name of composed and decomposed letters', async () => {
    expect((await ndjson([{ name: 'Cafe\u0301', device_type: 'x' }])).json.created).toBe(1)
    const again = (await ndjson([{ name: 'Café', device_type: 'x' }])).json
    expect(again).toMatchObject({ created: 0, errors: [{ row: 1, reason: 'name is taken' }] })
  })
})
