import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { root } from '../../lib/root.ts'
import { describeWith } from '../support/backends.ts'
import { temporaryFolder } from '../support/temporary.ts'
import {
  type Dashboard,
  desktop,
  expectAccessible,
  expectAccessibleInBoth,
  needsChromium,
  type OpenPage,
  phone,
  startDashboard,
} from './browser.ts'

const run = promisify(execFile)

/** The program of a tab. */
const programOf = async (page: Page, name: string) => {
  await page.getByRole('tab', { name, exact: true }).click()
  return (await page.getByRole('tabpanel').locator('pre').textContent()) ?? ''
}

/** Runs a program until it has printed a line. */
const firstLine = async (program: string, args: readonly string[]): Promise<string> => {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  child.kill('SIGKILL')
  return line
}

describeWith(needsChromium, 'the page that connects devices', () => {
  let dashboard: Dashboard
  let opened: OpenPage
  beforeAll(async () => {
    // As a server on the network is: devices need a key to register, operators do not.
    dashboard = await startDashboard({ OPEN_REGISTRATION: 'false' })
  })
  beforeEach(async () => {
    opened = await dashboard.open({ permissions: ['clipboard-read', 'clipboard-write'] })
  })
  afterEach(async () => {
    await opened.close()
    expect(opened.problems).toEqual([])
  })
  afterAll(() => dashboard.close())

  const register = async (page: Page, name: string) => {
    await page.getByLabel('Name', { exact: true }).fill(name)
    await page.getByLabel('Type', { exact: true }).fill('greenhouse')
    await page.getByRole('button', { name: 'Register the device' }).click()
    await page.getByText('Waiting for the first reading').waitFor()
  }
  const keyOf = async (page: Page) => (await page.locator('.key code').textContent()) ?? ''

  it('registers the first device, and its light turns green when the curl command has run', async () => {
    const { page } = opened
    await page.getByRole('heading', { name: 'Connect your first device' }).waitFor()
    await expectAccessible(page)
    await register(page, 'greenhouse "1"')
    const curl = await programOf(page, 'curl')
    // The programs are wider than a phone: their lines are wrapped, and nothing of them is hidden.
    await page.setViewportSize(phone)
    const widths = () =>
      page.evaluate(() => {
        const [{ documentElement }, code] = [document, document.querySelector('.snippet .code')]
        const isCut =
          code !== null && (code.scrollWidth > code.clientWidth || code.scrollHeight > code.clientHeight)
        return [documentElement.scrollWidth, isCut]
      })
    expect(await widths()).toEqual([phone.width, false])
    await page.setViewportSize(desktop)
    const { stdout } = await run('bash', ['-c', `${curl.trim()} -s`])
    expect(JSON.parse(stdout)).toMatchObject({ device_name: 'greenhouse "1"', accepted: 1 })
    await page.getByText('The first reading is stored').waitFor()
    await page.getByText('temperature 21.5').waitFor()
    await expectAccessibleInBoth(page)
    expect(await page.getByRole('link', { name: 'Show the device' }).getAttribute('href')).toBe('#/devices/1')
    await page.getByRole('link', { name: 'Overview' }).first().click()
    await page.getByText('1 device, 1 online').waitFor()
  })

  it('has programs that carry the real key, and run', async () => {
    const { page } = opened
    await page.getByRole('link', { name: 'Connect a device' }).click()
    await register(page, 'pump')
    const key = await keyOf(page)
    expect(key).toMatch(/^[A-Za-z0-9]{32}$/)
    for (const name of ['Python', 'MQTT', 'ESP32', 'iotflow'])
      expect(await programOf(page, name), name).toContain(key)
    expect(await firstLine('python3', ['-c', await programOf(page, 'Python')])).toMatch(/^201 .*humidity/)
    await run('python3', ['-c', `compile(${JSON.stringify(await programOf(page, 'MQTT'))}, '', 'exec')`])
    await page.getByText('pip install "paho-mqtt>=2"').waitFor()
    // A board does not reach a server by the name that this browser used.
    expect(await programOf(page, 'ESP32')).toContain('mqtt.setServer("ADDRESS-OF-THIS-COMPUTER"')
    await page.getByText('HOST=0.0.0.0').waitFor()
    await expectAccessible(page)
    await page.getByText('The first reading is stored').waitFor()
  })

  it('has one command of iotflow that leaves no file with the key', async () => {
    const { page } = opened
    await page.getByRole('link', { name: 'Connect a device' }).click()
    await register(page, 'valve')
    const program = await programOf(page, 'iotflow')
    const folder = await temporaryFolder()
    // Where npx finds the command: a folder whose package is the project.
    const parts = ['package.json', 'cli', 'dist', 'node_modules']
    for (const part of parts) await symlink(fileURLToPath(new URL(part, root)), join(folder.path, part))
    await run('bash', ['-c', program], { cwd: folder.path })
    expect((await readdir(folder.path)).sort()).toEqual(parts.sort())
    await page.getByText('The first reading is stored').waitFor()
    await page.getByText('humidity 48, temperature 21.5').waitFor()
    await folder.remove()
  })

  it('keeps the device in its tab when it is loaded anew, until another one is connected', async () => {
    const { page } = opened
    await page.getByRole('link', { name: 'Connect a device' }).click()
    await register(page, 'lamp')
    const key = await keyOf(page)
    await page.reload()
    await page.getByText('Waiting for the first reading').waitFor()
    expect(await keyOf(page)).toBe(key)
    expect(await programOf(page, 'curl')).toContain(key)
    await page.getByText('it cannot be shown again').waitFor()
    await page.getByRole('button', { name: 'Copy the key' }).click()
    await page.getByRole('button', { name: 'Copy the key' }).getByText('Copied').waitFor()
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(key)
    await page.getByRole('button', { name: 'Connect another device' }).click()
    await page.getByRole('button', { name: 'Register the device' }).waitFor()
    expect(await page.evaluate(() => JSON.stringify(sessionStorage))).not.toContain(key)
    await register(page, 'lamp-2')
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('Admin token').waitFor()
    expect(await page.evaluate(() => Object.keys(sessionStorage))).toEqual([])
  })

  it('does not use the key itself: the device has not been seen before its first reading', async () => {
    const { page } = opened
    await page.getByRole('link', { name: 'Connect a device' }).click()
    await register(page, 'quiet')
    const { body } = await dashboard.server.request('GET', '/api/v1/admin/devices?q=quiet', {
      headers: dashboard.asAdmin,
    })
    await page.goto(`${dashboard.server.httpUrl}/#/devices/${body.devices[0].id}`)
    await page.getByText('never used').waitFor()
    await page.locator('.device-lead').getByText('offline').waitFor()
  })

  it('says what is wrong with a name, and what arrived but could not be stored', async () => {
    const { page } = opened
    await page.getByRole('link', { name: 'Connect a device' }).click()
    await page.getByLabel('Name', { exact: true }).fill('pump')
    await page.getByLabel('Type', { exact: true }).fill('pump')
    await page.getByRole('button', { name: 'Register the device' }).click()
    const name = page.getByRole('textbox', { name: 'Name', description: 'is taken' })
    await name.waitFor()
    expect([await name.getAttribute('aria-invalid'), await page.getByRole('alert').count()]).toEqual([
      'true',
      0,
    ])
    await page.getByText('More', { exact: true }).click()
    await page.getByLabel('Time zone').fill('Mars/Base')
    await page.getByRole('button', { name: 'Register the device' }).click()
    await page.locator('.more .field.wrong').waitFor()
    await page.getByLabel('Time zone').fill('')
    await register(page, 'pump-2')
    const key = await keyOf(page)
    const body = { data: { nothing: null } }
    expect((await dashboard.server.request('POST', '/api/v1/telemetry', { key, body })).status).toBe(422)
    await page.getByText('A message arrived, but nothing of it could be stored').waitFor()
    await expectAccessibleInBoth(page)
  })
})
