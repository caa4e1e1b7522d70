import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { foldText } from '../../../lib/registry/folded-texts.ts'
import * as runtime from '../../../lib/runtime.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'
import { itIsForAdminsOnly } from './refusals.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')

let functions: TestFunctions
beforeAll(async () => {
  vi.setSystemTime(noon)
  functions = await openFunctions()
})
afterAll(async () => {
  await functions.close()
  vi.useRealTimers()
})

const list = (query = '', options: Parameters<TestFunctions['call']>[3] = { admin: true }) =>
  functions.call('admin-list', 'GET', `/api/v1/admin/devices${query}`, options)

const registryClient = async () => ({ client: (await runtime.registry()).db.$client })

const idsOf = async (query: string) => {
  const { json } = await list(query)
  return json.devices.map(({ id }: { id: number }) => id)
}

describe('the list of devices', () => {
  itIsForAdminsOnly(
    () => functions,
    (options) => list('', options),
  )

  it('shows every documented field of a device, and no key', async () => {
    const { id, key, name } = await functions.register({ device_type: 'fields', location: 'Roof' })
    await functions.call('devices-heartbeat', 'POST', '/api/v1/devices/heartbeat', { key })
    const answer = await list('?device_type=fields')
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({
      status: 'success',
      total_devices: 1,
      devices: [
        {
          id,
          name,
          description: null,
          device_type: 'fields',
          status: 'active',
          location: 'Roof',
          firmware_version: null,
          hardware_version: null,
          labels: {},
          timezone: null,
          created_at: '2026-03-01T12:00:00Z',
          updated_at: '2026-03-01T12:00:00Z',
          last_seen: '2026-03-01T12:00:00Z',
          is_online: true,
          desired_version: 0,
          reported_version: null,
        },
      ],
    })
    expect(answer.text).not.toContain(key.slice(0, 6))
  })

  it('is empty for a filter that no device passes', async () => {
    expect((await list('?device_type=nothing')).json).toEqual({
      status: 'success',
      total_devices: 0,
      devices: [],
    })
  })

  it('filters by status and by type, and by both together', async () => {
    const one = await functions.register({ device_type: 'filtered' })
    const two = await functions.register({ device_type: 'filtered' })
    const other = await functions.register({ device_type: 'unfiltered' })
    for (const { id } of [two, other])
      await functions.call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, {
        admin: true,
        body: { status: 'maintenance' },
      })
    expect(await idsOf('?device_type=filtered')).toEqual([one.id, two.id])
    expect(await idsOf('?status=maintenance')).toEqual([two.id, other.id])
    expect(await idsOf('?status=maintenance&device_type=filtered')).toEqual([two.id])
    expect(await idsOf('?status=&device_type=filtered')).toEqual([one.id, two.id])
  })

  it('finds a part of name, location and description, in capitals or not', async () => {
    const byName = await functions.register({ name: 'Boiler 100% north' })
    const byLocation = await functions.register({ location: 'BOILER room' })
    const byDescription = await functions.register({ description: 'the old boiler_2' })
    expect(await idsOf('?q=boiler')).toEqual([byName.id, byLocation.id, byDescription.id])
    expect(await idsOf('?q=100%25')).toEqual([byName.id])
    expect(await idsOf('?q=boiler_')).toEqual([byDescription.id])
    expect(await idsOf("?q=' or 1=1 --")).toEqual([])
  })

  it('finds with the index of texts what it finds without, also after changes', async () => {
    const { client } = await registryClient()
    // Above this many the index is not used.
    await client.execute(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2100)
      INSERT INTO devices (name, device_type, created_at, updated_at, name_folded)
      SELECT 'Crowd ' || i, 'crowd', 1, 1, 'crowd ' || i FROM n`)
    const names = [
      'Über-Straße 1',
      'ÜBER-STRASSE 2',
      'a "quoted" one',
      '漢字テスト',
      'ΣΊΣΥΦΟΣ',
      "o'clock * NOT",
      '🙂🙂🙂 x',
    ]
    for (const name of names) await functions.register({ name })
    const gone = await functions.register({ name: 'soon to be deleted' })
    await functions.call('admin-delete', 'DELETE', `/api/v1/admin/devices/${gone.id}`, { admin: true })
    const renamed = await functions.register({ name: 'before', description: 'stays' })
    const change = { name: 'afterwards', description: null }
    await functions.call('admin-update', 'PUT', `/api/v1/admin/devices/${renamed.id}`, {
      admin: true,
      body: change,
    })
    const all = (await client.execute('SELECT id, name, location, description FROM devices ORDER BY id')).rows
    const texts = all.map(({ id, name, location, description }) => ({
      id,
      texts: [name, location, description].map((text) => foldText(String(text ?? ''))),
    }))
    for (const q of [
      ...['crowd', 'crowd 20', 'über', 'strasse', 'straße', '"quoted"', '"', '漢字', '漢字テ', 'σίσυφος'],
      ...['* not', '🙂🙂🙂', '🙂', 'soon to', 'before', 'stays', 'afterwards', 'ab', 'xyz'],
    ]) {
      const { json } = await list(`?limit=20&q=${encodeURIComponent(q)}`)
      const expected = texts.filter(({ texts: own }) => own.some((text) => text.includes(foldText(q))))
      expect([q, json.total_devices]).toEqual([q, expected.length])
      expect(json.devices.map(({ id }: { id: number }) => id)).toEqual(
        expected.slice(0, 20).map(({ id }) => id),
      )
    }
  })

  it('finds texts with the character 0, and answers a search for it', async () => {
    const { id } = await functions.register({ description: 'above\0beneath' })
    expect(await idsOf('?q=beneath')).toEqual([id])
    expect(await idsOf(`?q=${encodeURIComponent('above\0ben')}`)).toEqual([id])
    expect(await idsOf(`?q=${encodeURIComponent('above\0x')}`)).toEqual([])
  })

  it('counts every device of a status and of a type, also after changes', async () => {
    const { client } = await registryClient()
    const one = await functions.register({ device_type: 'counted' })
    const two = await functions.register({ device_type: 'counted' })
    const three = await functions.register({ device_type: 'counted' })
    const path = (id: number) => `/api/v1/admin/devices/${id}`
    const body = { status: 'maintenance' }
    await functions.call('admin-set-status', 'PUT', `${path(one.id)}/status`, { admin: true, body })
    await functions.call('admin-update', 'PUT', path(two.id), {
      admin: true,
      body: { device_type: 'recounted' },
    })
    await functions.call('admin-delete', 'DELETE', path(three.id), { admin: true })
    const { rows } = await client.execute(
      'SELECT status, device_type AS type, count(*) AS count FROM devices GROUP BY status, device_type',
    )
    let total = 0
    for (const { status, type, count } of rows) {
      const { json } = await list(`?status=${status}&device_type=${type}`)
      expect([status, type, json.total_devices]).toEqual([status, type, count])
      total += Number(count)
    }
    expect((await list()).json.total_devices).toBe(total)
    expect((await list('?device_type=counted')).json.total_devices).toBe(1)
    expect((await client.execute('SELECT count(*) AS n FROM device_counts')).rows[0]?.n).toBe(rows.length)
  })

  it('filters by labels, beside the other filters and page by page', async () => {
    const made = async (labels: object, fields: object = {}) =>
      (await functions.register({ device_type: 'labelled', labels, ...fields })).id
    const ids = [
      await made({ site: 'north', floor: '1' }),
      await made({ site: 'north', floor: '2' }),
      await made({ site: 'south' }, { location: 'Roof of labels' }),
    ]
    const found = async (selector: string, more = '') =>
      (await idsOf(`?device_type=labelled&selector=${encodeURIComponent(selector)}${more}`)).map(
        (id: number) => ids.indexOf(id),
      )
    expect(await found('site=north')).toEqual([0, 1])
    expect(await found('site=north,floor!=2')).toEqual([0])
    expect(await found('floor notin (1)')).toEqual([1, 2])
    expect(await found('site in (north, south),!floor')).toEqual([2])
    expect(await found('site', '&sort=location')).toEqual([0, 1, 2])
    expect(await found('site', '&q=roof of labels')).toEqual([2])
    expect(await found('site', '&status=inactive')).toEqual([])
    expect(await found('site', '&status=active&limit=2')).toEqual([0, 1])
    const { json } = await list('?selector=site%3Dnorth&limit=1')
    expect([json.total_devices, json.devices[0].labels]).toEqual([2, { site: 'north', floor: '1' }])
    const next = await list(`?selector=site%3Dnorth&limit=1&cursor=${json.next_cursor}`)
    expect(next.json.devices.map(({ id }: { id: number }) => id)).toEqual([ids[1]])
  })

  it('finds nothing of a device that is deleted', async () => {
    const { id } = await functions.register({ labels: { gone: 'soon' } })
    expect(await idsOf('?selector=gone')).toEqual([id])
    await functions.call('admin-delete', 'DELETE', `/api/v1/admin/devices/${id}`, { admin: true })
    expect(await idsOf('?selector=gone')).toEqual([])
    expect((await functions.register()).id).toBeGreaterThan(id)
    expect(await idsOf('?selector=gone')).toEqual([])
  })

  it('names the place of a fault in a selector', async () => {
    const answer = await list(`?selector=${encodeURIComponent('site=north,floor>2')}`)
    expect([answer.status, answer.json.error.details]).toEqual([
      422,
      [{ path: 'selector', message: 'has an error at character 17: a comma or the end was expected' }],
    ])
  })

  it('comes in pages in the order of ids, with the total of all pages', async () => {
    const ids: number[] = []
    for (let n = 0; n < 5; n += 1) ids.push((await functions.register({ device_type: 'paged' })).id)
    const pages: number[][] = []
    let cursor = ''
    for (;;) {
      const { json } = await list(`?device_type=paged&limit=2&cursor=${cursor}`)
      expect(json.total_devices).toBe(5)
      pages.push(json.devices.map(({ id }: { id: number }) => id))
      if (json.next_cursor === undefined) break
      cursor = json.next_cursor
    }
    expect(pages).toEqual([ids.slice(0, 2), ids.slice(2, 4), ids.slice(4)])
  })

  it('filters by whether devices run their configuration, and shows both versions', async () => {
    const plain = await functions.register({ device_type: 'configured' })
    const behind = await functions.register({ device_type: 'configured' })
    const current = await functions.register({ device_type: 'configured' })
    const configure = (id: number, value: number) =>
      functions.call('admin-configure', 'PUT', `/api/v1/admin/devices/${id}/config`, {
        admin: true,
        body: { configuration: { interval: value } },
      })
    const report = (id: number, version: number) =>
      functions.invoke('mqtt-report-configuration', {
        payload: Buffer.from(JSON.stringify({ version })).toString('base64'),
        topic: `iotflow/devices/${id}/config/reported`,
        client_id: String(id),
        received_at: Date.now(),
      })
    for (const { id } of [behind, current]) await configure(id, 1)
    for (const { id } of [behind, current]) await report(id, 1)
    await configure(behind.id, 2)
    expect(await idsOf('?device_type=configured&configuration=pending')).toEqual([behind.id])
    expect(await idsOf('?device_type=configured&configuration=in_sync')).toEqual([plain.id, current.id])
    const { json } = await list('?device_type=configured')
    expect(json.devices).toMatchObject([
      { desired_version: 0, reported_version: null },
      { desired_version: 2, reported_version: 1 },
      { desired_version: 1, reported_version: 1 },
    ])
    expect((await list('?configuration=half')).status).toBe(422)
  })

  it('filters by being online', async () => {
    const silent = await functions.register({ device_type: 'presence' })
    const seen = await functions.register({ device_type: 'presence' })
    await functions.call('devices-heartbeat', 'POST', '/api/v1/devices/heartbeat', { key: seen.key })
    expect(await idsOf('?device_type=presence&online=true')).toEqual([seen.id])
    expect(await idsOf('?device_type=presence&online=false')).toEqual([silent.id])
    expect((await list('?device_type=presence&online=true')).json.total_devices).toBe(1)
  })

  it.each([
    ['name', ['c-sorted', 'B-sorted', 'C-SORTED 2'], [1, 0, 2]],
    ['location', ['Roof', 'attic', 'roof', null], [3, 1, 0, 2]],
  ])(
    'sorts by %s, in capitals or not, forwards and backwards, page by page',
    async (sort, values, places) => {
      const ids: number[] = []
      for (const value of values)
        ids.push((await functions.register({ device_type: `by ${sort}`, [sort]: value })).id)
      const sorted = places.map((at) => ids[at])
      const pages = async (order: string) => {
        const listed: number[] = []
        let cursor = ''
        for (;;) {
          const query = new URLSearchParams({ device_type: `by ${sort}`, sort, order, limit: '2', cursor })
          const { json } = await list(`?${query}`)
          listed.push(...json.devices.map(({ id }: { id: number }) => id))
          if (json.next_cursor === undefined) return listed
          cursor = json.next_cursor
        }
      }
      expect(await pages('asc')).toEqual(sorted)
      expect(await pages('desc')).toEqual(sorted.toReversed())
    },
  )

  it('sorts by the time at which devices were seen last, also before that is written', async () => {
    const never = await functions.register({ device_type: 'seen' })
    const early = await functions.register({ device_type: 'seen' })
    const late = await functions.register({ device_type: 'seen' })
    for (const { key } of [early, late]) {
      vi.setSystemTime(Date.now() + 1000)
      await functions.call('devices-heartbeat', 'POST', '/api/v1/devices/heartbeat', { key })
    }
    expect(await idsOf('?device_type=seen&sort=last_seen&order=desc')).toEqual([late.id, early.id, never.id])
  })

  it('lists backwards by id', async () => {
    const one = await functions.register({ device_type: 'backwards' })
    const two = await functions.register({ device_type: 'backwards' })
    const { json } = await list('?device_type=backwards&order=desc&limit=1')
    expect(json.devices[0].id).toBe(two.id)
    expect(await idsOf(`?device_type=backwards&order=desc&cursor=${json.next_cursor}`)).toEqual([one.id])
  })

  it('refuses the cursor of another order', async () => {
    for (let n = 0; n < 2; n += 1) await functions.register({ device_type: 'orders' })
    const { json } = await list('?device_type=orders&sort=name&limit=1')
    for (const sort of ['last_seen', 'id']) {
      const answer = await list(`?device_type=orders&sort=${sort}&cursor=${json.next_cursor}`)
      expect([answer.status, answer.json.error.details[0].path]).toEqual([422, 'cursor'])
    }
  })

  it('has no next page when the last device is on this one', async () => {
    for (let n = 0; n < 2; n += 1) await functions.register({ device_type: 'exact' })
    expect((await list('?device_type=exact&limit=2')).json.next_cursor).toBeUndefined()
  })

  it('lowers a limit above 1000 instead of refusing it', async () => {
    expect((await list('?limit=999999999999999')).status).toBe(200)
  })

  it.each([
    ['status=asleep', 'status', 'must be active, inactive or maintenance'],
    ['limit=0', 'limit', 'must be a whole number from 1'],
    ['limit=-1', 'limit', 'must be a whole number from 1'],
    ['limit=1.5', 'limit', 'must be a whole number from 1'],
    ['limit=many', 'limit', 'must be a whole number from 1'],
    ['cursor=abc', 'cursor', 'is not one that this query gave'],
    ['cursor=%', 'cursor', 'is not one that this query gave'],
    ['online=perhaps', 'online', 'must be true or false'],
    ['sort=weight', 'sort', expect.stringContaining('must be one of id, name')],
    ['order=up', 'order', 'must be asc or desc'],
    [`q=${'x'.repeat(129)}`, 'q', expect.any(String)],
    [`device_type=${'x'.repeat(65)}`, 'device_type', expect.any(String)],
  ])('answers 422 for ?%s and names the parameter', async (query, path, message) => {
    const answer = await list(`?${query}`)
    expect([answer.status, answer.json.error.code]).toEqual([422, 'VALIDATION_FAILED'])
    expect(answer.json.error.details).toEqual([{ path, message }])
  })
})
