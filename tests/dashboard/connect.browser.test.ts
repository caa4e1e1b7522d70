import { execFile } from 'node:child_process'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { root } from '../../lib/root.ts'
import { describeWith } from '../support/backends.ts'
import { runLine } from '../support/iotflow.ts'
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

describeWith(needsChromium, 'the page that connects devices', () => {
  let dashboard: Dashboard
  let opened: OpenPage
  beforeAll(async () => {
    // As a server on the network is: devices need a key to register, operators do not.
    dashboard = await startDashboard({ OPEN_REGISTRATION: 'false' })
  })
  beforeEach(async () => {
    opened = await dashboard.open()
  })
  afterEach(async () => {
    await opened.close()
    expect(opened.problems).toEqual([])
  })
  afterAll(() => dashboard.close())

  const register = async (page: Page, name: string) => {
    await page.getByLabel('Name').fill(name)
    await page.getByLabel('Type').fill('greenhouse')
    await page.getByRole('button', { name: 'Register the device' }).click()
    await page.getByText('Waiting for the first reading').waitFor()
  }

  it('registers the first device, and its light turns green when the curl command has run', async () => {
    const { page } = opened
    await page.getByRole('heading', { name: 'Connect your first device' }).waitFor()
    await expectAccessible(page)
    await register(page, 'greenhouse "1"')
    const curl = await programOf(page, 'curl')
    // The programs are wider than a phone: they scroll, the page does not.
    await page.setViewportSize(phone)
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(phone.width)
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
    const key = (await page.locator('.key code').textContent()) ?? ''
    expect(key).toMatch(/^[A-Za-z0-9]{32}$/)
    const folder = await temporaryFolder()
    for (const name of ['Python', 'Python, MQTT', 'ESP32', 'iotflow']) {
      const program = await programOf(page, name)
      expect(program, name).toContain(key)
      if (name.startsWith('Python'))
        await run('python3', ['-c', `compile(${JSON.stringify(program)}, '', 'exec')`])
    }
    // Where npx finds the command: a folder whose package is the project.
    const options = { dataDir: dashboard.server.dataDir, cwd: folder.path }
    for (const part of ['package.json', 'cli', 'dist', 'node_modules'])
      await symlink(fileURLToPath(new URL(part, root)), join(folder.path, part))
    for (const line of (await programOf(page, 'iotflow')).trim().split('\n')) {
      const { code, out, err } = await runLine(line, options)
      expect(code, `${line}\n${out}${err}`).toBe(0)
    }
    await page.getByText('The first reading is stored').waitFor()
    await folder.remove()
  })

  it('says what is wrong with a name, and what arrived but could not be stored', async () => {
    const { page } = opened
    await page.getByRole('link', { name: 'Connect a device' }).click()
    await page.getByLabel('Name').fill('pump')
    await page.getByRole('button', { name: 'Register the device' }).click()
    await page.getByRole('alert').waitFor()
    await register(page, 'pump-2')
    const key = (await page.locator('.key code').textContent()) ?? ''
    const body = { data: { nothing: null } }
    expect((await dashboard.server.request('POST', '/api/v1/telemetry', { key, body })).status).toBe(422)
    await page.getByText('A message arrived, but nothing of it could be stored').waitFor()
    await expectAccessibleInBoth(page)
  })
})
