import { readFileSync } from 'node:fs'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import type { Device } from '../support/standalone.ts'
import { type Dashboard, expectAccessibleInBoth, needsChromium, phone, startDashboard } from './browser.ts'

const minute = 60_000
/** A text of a device that would be a picture if it were taken as HTML. */
const hostile = '<img src=x onerror=alert(1)>'

describeWith(needsChromium, 'the page of a device', () => {
  let dashboard: Dashboard
  let device: Device
  /** Readings of the last 20 minutes, two a minute. */
  const history = 40

  const send = (body: unknown) =>
    dashboard.server.request('POST', '/api/v1/devices/telemetry', { key: device.key, body })
  const admin = (method: string, path: string, body?: unknown) =>
    dashboard.server.request(method, `/api/v1/admin/devices/${device.id}${path}`, {
      headers: dashboard.asAdmin,
      ...(body === undefined ? {} : { body }),
    })

  beforeAll(async () => {
    dashboard = await startDashboard()
    device = await dashboard.server.register('greenhouse')
    const begin = Date.now() - 20 * minute
    const batch = Array.from({ length: history }, (_, n) => ({
      ts: begin + n * 30_000,
      values: {
        temperature: 20 + n / 10,
        humidity: 50 - n / 10,
        open: n % 20 < 10,
        mode: 'auto',
        ...(n === 5 && { 'odd!name': 1 }),
      },
    }))
    await send(batch)
  })
  afterAll(() => dashboard.close())

  const open = async (query = '', options = {}) => {
    const opened = await dashboard.open({ path: `/devices/${device.id}${query}`, ...options })
    await opened.page.getByRole('heading', { name: 'greenhouse', level: 1 }).waitFor()
    return opened
  }
  const chart = (page: Page, name = 'All chosen fields') => page.getByRole('group', { name, exact: true })
  /** Waits until the charts show so many points. */
  const points = (page: Page, count: number) => page.locator(`[data-points="${count}"]`).waitFor()
  const newestOf = (page: Page, field: string) =>
    page
      .getByRole('row', { name: new RegExp(`^${field}`) })
      .first()
      .locator('td')
      .first()

  it('draws the readings, tells them in words and as a table, and shows new ones as they come', async () => {
    const { page, problems, close } = await open('?range=1h&view=together')
    await points(page, history)
    const description = await chart(page).evaluate(
      (element) => document.getElementById(element.getAttribute('aria-describedby') ?? '')?.textContent,
    )
    expect(description).toContain('temperature between 20 and 23.9')
    expect(description).toContain('humidity between 46.1 and 50')
    expect(await newestOf(page, 'temperature').textContent()).toBe('23.9')
    expect(await newestOf(page, 'mode').textContent()).toBe('auto')
    // Something is drawn in the colour of the first line.
    const inked = await chart(page)
      .locator('canvas')
      .evaluate((canvas: HTMLCanvasElement) => {
        const data = canvas.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height).data ?? []
        return data.some((value) => value > 0)
      })
    expect(inked).toBe(true)
    await page.getByText('Values as a table').click()
    await page.getByRole('table', { name: /Values of the charts/ }).waitFor()
    await page.getByText('Live', { exact: true }).waitFor()
    await send({ temperature: 31.25 })
    await points(page, history + 1)
    await expect.poll(() => newestOf(page, 'temperature').textContent()).toBe('31.25')
    await page.getByRole('cell', { name: '31.25' }).first().waitFor()
    expect(problems).toEqual([])
    await close()
  })

  it('shows the first reading of a young device as dots that do not hide each other, in a short range', async () => {
    const young = await dashboard.server.register('young')
    const { page, problems, close } = await dashboard.open({ path: `/devices/${young.id}` })
    const fact = (card: string, name: string) =>
      page.getByRole('region', { name: card }).locator(`dt:text-is("${name}") + dd`)
    await page.getByText('never used').waitFor()
    const body = { temperature: 21.5, humidity: 48 }
    await dashboard.server.request('POST', '/api/v1/devices/telemetry', { key: young.key, body })
    await page.locator('[data-points="1"]').waitFor()
    const range = page.getByRole('combobox', { name: 'Range' })
    await expect.poll(() => range.inputValue()).toBe('5m')
    expect(page.url()).not.toContain('range=')
    await page.locator('.charts:not(.loading-more)').waitFor()
    // The middle of what is drawn in the colour of a line, and its height.
    const dotOf = (color: string) =>
      page.locator('.charts canvas').evaluate((canvas: HTMLCanvasElement, name) => {
        const probe = document.createElement('canvas').getContext('2d')
        const context = canvas.getContext('2d')
        if (!probe || !context) return undefined
        probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim()
        probe.fillRect(0, 0, 1, 1)
        const [red, green, blue] = probe.getImageData(0, 0, 1, 1).data
        const { data, width } = context.getImageData(0, 0, canvas.width, canvas.height)
        const rows: number[] = []
        for (let at = 0; at < data.length; at += 4)
          if (data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3] === 255)
            rows.push(Math.floor(at / 4 / width))
        const [first = 0, last = 0] = [rows[0], rows.at(-1)]
        return { middle: (first + last) / 2, height: last - first + 1 }
      }, color)
    await expect.poll(async () => (await dotOf('--chart-1'))?.height).toBeGreaterThanOrEqual(5)
    const [humidity, temperature] = [await dotOf('--chart-1'), await dotOf('--chart-2')]
    expect(temperature?.height).toBeGreaterThanOrEqual(5)
    expect((temperature?.middle ?? 0) - (humidity?.middle ?? 0)).toBeGreaterThan(20)

    // The cards follow, too, long before the page looks at everything again.
    await expect.poll(() => fact('Readings', 'Stored').textContent()).toBe('1')
    await expect.poll(() => fact('About', 'Last seen').textContent()).toMatch(/now|s ago/)
    await page
      .locator('.keys')
      .getByText(/used/)
      .filter({ hasText: /now|s ago/ })
      .first()
      .waitFor()
    await range.selectOption('1h')
    await expect.poll(() => page.url()).toContain('range=1h')
    await expectAccessibleInBoth(page)
    expect(problems).toEqual([])
    await close()
  })

  it('zooms and pans with buttons, keys and a drag, and the address keeps the range', async () => {
    const { page, problems, close } = await open('?range=1h&view=together')
    const range = () => new URL(page.url().replace('#/', '')).searchParams.get('range') ?? '1h'
    const width = () => {
      const [from, to] = range().split('-').map(Number)
      return (to ?? 0) - (from ?? 0)
    }
    await page.getByRole('button', { name: 'Zoom in' }).click()
    await expect.poll(width).toBeGreaterThanOrEqual(1800)
    expect(width()).toBeLessThanOrEqual(1802)
    await chart(page).focus()
    await page.keyboard.press('ArrowLeft')
    await page.keyboard.press('+')
    await expect.poll(width).toBeLessThanOrEqual(903)
    const shown = range()
    await page.reload()
    await page.getByRole('heading', { name: 'greenhouse', level: 1 }).waitFor()
    expect(range()).toBe(shown)
    await chart(page).focus()
    await page.keyboard.press('Home')
    await expect.poll(range).toBe('15m')
    await page.locator('.charts:not(.loading-more)').waitFor()
    const box = await chart(page).locator('.u-over').boundingBox()
    if (box === null) throw new Error('there is no plot')
    await page.mouse.move(box.x + box.width * 0.25, box.y + 50)
    await page.mouse.down()
    await page.mouse.move(box.x + box.width * 0.75, box.y + 50, { steps: 5 })
    await page.mouse.up()
    await expect.poll(width).toBeGreaterThan(400)
    expect(width()).toBeLessThan(500)
    await page.getByRole('button', { name: 'Live' }).click()
    await expect.poll(range).toBe('15m')
    await page.getByRole('combobox', { name: 'Range' }).selectOption('24h')
    await expect.poll(range).toBe('24h')
    expect(problems).toEqual([])
    await close()
  })

  it('asks for windows that fit its pixels in long ranges, and for readings in short ones', async () => {
    const { page, close } = await open('?range=5m&view=together')
    const asked: URL[] = []
    page.on('request', (request) => {
      if (request.url().includes(`/telemetry/${device.id}`)) asked.push(new URL(request.url()))
    })
    for (const range of ['1y', '7d', '24h', '1h']) {
      asked.length = 0
      await page.getByRole('combobox', { name: 'Range' }).selectOption(range)
      await page.locator('.charts:not(.loading-more)').waitFor()
      await expect.poll(() => asked.length).toBeGreaterThan(0)
      const windows = asked.filter(({ pathname }) => pathname.endsWith('/aggregated'))
      if (range === '1h') expect(windows).toEqual([])
      else expect(windows.length).toBeGreaterThan(0)
    }
    await close()
  })

  it('lets the reader choose fields, together or apart', async () => {
    const { page, close } = await open('?range=1h&view=together')
    await points(page, history + 1)
    const humidity = page.getByRole('button', { name: /^humidity/ })
    expect(await humidity.getAttribute('aria-pressed')).toBe('true')
    await humidity.click()
    await expect.poll(() => humidity.getAttribute('aria-pressed')).toBe('false')
    expect(page.url()).toContain('fields=')
    await page.getByRole('button', { name: 'Apart' }).click()
    await chart(page, 'temperature').waitFor()
    expect(await chart(page, 'humidity').count()).toBe(0)
    await close()
  })

  it('edits the configuration, and explains when somebody else was faster', async () => {
    const { page, problems, close } = await open('', { expectedFailures: ['/config', '/admin/stream'] })
    // Without live updates the page learns of the change when it saves.
    await page.route('**/admin/stream*', (route) => route.abort())
    await page.reload()
    await page.getByRole('heading', { name: 'Configuration' }).waitFor()
    const add = async (key: string, type: string, value: string) => {
      await page.getByLabel('New key').fill(key)
      await page.getByRole('button', { name: 'Add' }).click()
      await page.getByLabel(`Type of ${key}`).selectOption(type)
      await page.getByLabel(`Value of ${key}`).fill(value)
    }
    await add('interval', 'number', 'often')
    await page.getByText('must be a number').waitFor()
    expect(await page.getByRole('button', { name: 'Save 1 change' }).isDisabled()).toBe(true)
    await page.getByLabel('Value of interval').fill('30')
    await page.getByRole('button', { name: 'Save 1 change' }).click()
    await page.getByText('the device has not reported one').waitFor()
    expect((await admin('GET', '/config')).body.configuration.interval).toMatchObject({
      value: 30,
      data_type: 'integer',
    })
    await add('mode', 'text', 'eco')
    await admin('PUT', '/config', { configuration: { interval: 60 } })
    await page.getByRole('button', { name: 'Save 1 change' }).click()
    await page.getByText(/Somebody else has changed this configuration: it has version 2 now/).waitFor()
    await expectAccessibleInBoth(page)
    expect(await page.getByLabel('Value of interval').inputValue()).toBe('60')
    expect(await page.getByLabel('Value of mode').inputValue()).toBe('eco')
    await page.getByRole('button', { name: 'Save on top of version 2' }).click()
    await page.getByText('Saved as version 3').first().waitFor()
    const { configuration } = (await admin('GET', '/config')).body
    expect([configuration.interval.value, configuration.mode.value]).toEqual([60, 'eco'])
    await page.getByRole('button', { name: 'Delete mode' }).click()
    await page.getByRole('button', { name: 'Save 1 change' }).click()
    await page.getByText('Saved as version 4').first().waitFor()
    expect(Object.keys((await admin('GET', '/config')).body.configuration)).toEqual(['interval'])
    expect(problems).toEqual([])
    await close()
  })

  it('sends commands, tells their states, and cancels one', async () => {
    const { page, problems, close } = await open()
    const line = (command: string) => page.locator('.commands li', { hasText: command })
    const sendCommand = async (command: string) => {
      await page.getByRole('button', { name: 'Send a command' }).click()
      await page.getByLabel('Command', { exact: true }).fill(command)
      await page.getByLabel('Parameters').fill('{"delay_s":')
      await page.getByText('must be JSON').waitFor()
      await page.getByLabel('Parameters').fill('{"delay_s":5}')
      await page.getByRole('button', { name: 'Send', exact: true }).click()
      await line(command).getByText('queued').first().waitFor()
    }
    await sendCommand('restart')
    await sendCommand('dance')
    await line('dance').getByRole('button', { name: 'Cancel' }).click()
    await page.getByRole('button', { name: 'Cancel the command' }).click()
    await line('dance').getByText('cancelled').first().waitFor()
    const asDevice = (method: string, path: string, body?: unknown) =>
      dashboard.server.request(method, `/api/v1/devices/commands${path}`, { key: device.key, body })
    const { commands } = (await asDevice('GET', '')).body
    expect(commands).toMatchObject([{ command: 'restart', params: { delay_s: 5 } }])
    await line('restart').getByText('sent').first().waitFor()
    const result = { done: hostile }
    await asDevice('POST', `/${commands[0].command_id}`, { status: 'succeeded', result })
    await line('restart').getByText('succeeded').first().waitFor()
    expect(await line('restart').textContent()).toContain(JSON.stringify(result))
    expect(await line('restart').getByRole('button', { name: 'Cancel' }).count()).toBe(0)
    expect(await line('restart').locator('img').count()).toBe(0)
    expect(problems).toEqual([])
    await close()
  })

  it('shows what a hostile device says as text, and saves none of it as a formula', async () => {
    const { id, key } = await dashboard.server.register(hostile)
    const send = (body: unknown) =>
      dashboard.server.request('POST', '/api/v1/devices/telemetry', { key, body })
    await send({
      data: { '+1+1': 1, note: '=HYPERLINK("http://example.com")' },
      metadata: { [hostile]: hostile },
    })
    await dashboard.server.deadLetter(id, hostile)
    for (const path of ['/', '/devices', '/dead-letters', `/devices/${id}`]) {
      const { page, problems, close } = await dashboard.open({ path })
      await page
        .getByText(path === '/dead-letters' ? String(id) : hostile)
        .first()
        .waitFor()
      expect(await page.locator('main img, main script').count(), path).toBe(0)
      if (path.endsWith(`/${id}`)) {
        const [file] = await Promise.all([
          page.waitForEvent('download'),
          page.getByRole('button', { name: 'Export CSV' }).click(),
        ])
        const text = readFileSync((await file.path()) as string, 'utf8')
        expect(text).toContain(`"'=HYPERLINK(""http://example.com"")"`)
        expect(text).toMatch(/^timestamp,'\+1\+1,note,metadata\r/)
      }
      expect(problems, path).toEqual([])
      await close()
    }
  })

  it('saves the readings of the range as CSV', async () => {
    const { page, close } = await open('?range=1h')
    await points(page, history + 1)
    const [file] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Export CSV' }).click(),
    ])
    const lines = readFileSync((await file.path()) as string, 'utf8')
      .trimEnd()
      .split('\r\n')
    expect(lines).toHaveLength(history + 2)
    expect(lines[0]).toMatch(/^timestamp,.*humidity,mode,.*temperature.*,metadata$/)
    expect(lines.at(-1)).toContain('31.25')
    await close()
  })

  it('has nothing that a screen reader stumbles over, and fits a phone', async () => {
    const { page, close } = await open('?range=1h')
    await points(page, history + 1)
    await expectAccessibleInBoth(page)
    await close()
    const small = await open('?range=1h&view=together', { viewport: phone })
    await points(small.page, history + 1)
    expect(await small.page.evaluate(() => document.documentElement.scrollWidth)).toBe(phone.width)
    await small.close()
  })

  it('tells what happened: warnings about readings, and every change with who made it', async () => {
    const client = await dashboard.server.mqtt(device)
    await client.publishAsync(`iotflow/devices/${device.id}/telemetry`, '{"odd!name":1}', { qos: 1 })
    await client.endAsync()
    // Warnings are written some seconds later.
    const kinds = async () =>
      (await admin('GET', '/events')).body.events.map(({ event }: { event: string }) => event)
    await expect.poll(kinds).toContain('warning')
    const { page, close } = await open()
    await page
      .getByRole('region', { name: 'Warnings' })
      .getByText(/NAME_CHANGED/)
      .waitFor()
    await page.getByRole('button', { name: 'Status' }).click()
    await page.getByRole('dialog').getByLabel('Status').selectOption('maintenance')
    await page.getByRole('button', { name: 'Make it maintenance' }).click()
    await page.getByText('went from active to maintenance by admin').waitFor()
    await page.getByRole('button', { name: 'Edit' }).click()
    await page.getByLabel('Location').fill('Roof')
    await page.getByRole('button', { name: 'Save', exact: true }).click()
    await page.locator('.device-lead', { hasText: 'Roof' }).waitFor()
    await close()
  })

  it('makes and ends keys, and deletes the device after its name was typed', async () => {
    const { page, close } = await open('', { expectedFailures: [`/${device.id}`] })
    await page.getByRole('button', { name: 'New key' }).click()
    await page.getByLabel('The key in use stays valid').selectOption('0')
    await page.getByRole('button', { name: 'Make a new key' }).click()
    const key = (await page.getByTestId('api-key').textContent()) ?? ''
    const heartbeat = (used: string) =>
      dashboard.server
        .request('POST', '/api/v1/devices/heartbeat', { key: used })
        .then(({ status }) => status)
    expect([await heartbeat(key), await heartbeat(device.key)]).toEqual([200, 401])
    await page.getByRole('button', { name: 'Done' }).click()
    await page.getByRole('button', { name: 'Revoke all' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click()
    await expect.poll(() => heartbeat(key)).toBe(401)
    await page.getByRole('button', { name: 'Delete', exact: true }).click()
    const act = page.getByRole('dialog').getByRole('button', { name: 'Delete' })
    expect(await act.isDisabled()).toBe(true)
    await page.getByLabel('Type greenhouse to go on').fill('greenhouse')
    await page.getByLabel(/Delete its \d+ readings/).check()
    await act.click()
    await page.getByRole('heading', { name: 'Devices', level: 1 }).waitFor()
    expect((await admin('GET', '')).status).toBe(404)
    await close()
    const gone = await dashboard.open({ path: `/devices/${device.id}`, expectedFailures: [`/${device.id}`] })
    await gone.page.getByText('There is no such device').waitFor()
    await gone.close()
  })
})
