/** `npm run screenshots`: pictures of every page of the dashboard with a fleet that runs, and how fast each page is there. */
import { mkdir, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { root } from '../../lib/root.ts'
import { asksForHelp, parseOptions, runCommand } from '../../scripts/command.ts'
import { startReceiver } from '../support/webhook-receiver.ts'
import { type Dashboard, desktop, openPage, phone, startDashboard } from './browser.ts'
import { startFleet } from './fleet.ts'
import { tendAlerts, watchFleet } from './watched-fleet.ts'

const help = `Takes pictures of the dashboard while the office fleet of the simulator runs.

  npm run screenshots -- [--out <folder>] [--seconds <n>]

  --out      folder of the pictures, docs/images by default
  --seconds  how long the fleet runs before, 60 by default: the overview shows the last hour

It needs a Chromium: on the PATH, or its path in CHROMIUM. For each page it prints the requests, what they transfer, and the times
of the first paint and of the content, as the browser measures them.
`

interface Shot {
  readonly name: string
  readonly path: string
  /** What is there when the page has its content. */
  readonly ready: string
}

const shots: readonly Shot[] = [
  { name: 'overview', path: '/', ready: '.overview .event-list' },
  { name: 'devices', path: '/devices', ready: 'tbody tr' },
  { name: 'device', path: '/devices/1', ready: '.uplot canvas' },
  { name: 'alerts', path: '/alerts', ready: '.alert-group tbody tr' },
  { name: 'alert-rules', path: '/alerts/rules', ready: 'tbody tr' },
  { name: 'dead-letters', path: '/dead-letters', ready: 'tbody tr' },
  { name: 'connect', path: '/connect', ready: 'form' },
  { name: 'health', path: '/health', ready: '.checks li' },
  { name: 'settings', path: '/settings', ready: 'tbody tr' },
  { name: 'webhooks', path: '/settings/webhooks', ready: 'tbody tr' },
  { name: 'webhook', path: '/settings/webhooks/1', ready: 'tbody tr' },
]

const views = [
  { view: 'desktop', viewport: desktop, colorScheme: 'light' },
  { view: 'phone', viewport: phone, colorScheme: 'dark' },
] as const

const brokenPayloads = ['{"temperature": 21.5', 'T=21.5;H=48', '[]', '{"data":{"temperature":null}}']

const breakMessages = async ({ server }: Dashboard): Promise<void> => {
  const device = await server.register('cellar-gateway')
  const client = await server.mqtt(device)
  for (const payload of brokenPayloads)
    await client.publishAsync(`iotflow/devices/${device.id}/telemetry`, payload, { qos: 1 })
  await client.endAsync()
}

/** Of the page that is open, in the words of the browser. */
const measure = (page: Page): Promise<{ requests: number; bytes: number; firstPaint: number }> =>
  page.evaluate(() => {
    const entries = [
      ...performance.getEntriesByType('navigation'),
      ...performance.getEntriesByType('resource'),
    ] as PerformanceResourceTiming[]
    return {
      requests: entries.length,
      bytes: entries.reduce((sum, { transferSize }) => sum + transferSize, 0),
      firstPaint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? Number.NaN,
    }
  })

const take = async (dashboard: Dashboard, { name, path, ready }: Shot, out: string): Promise<void> => {
  const { browser, server, adminToken } = dashboard
  for (const { view, viewport, colorScheme } of views) {
    const options = { path, viewport, colorScheme, reducedMotion: 'reduce' } as const
    const { page, problems, close } = await openPage(browser, server.httpUrl, adminToken, options)
    await page.locator(ready).first().waitFor()
    const content = await page.evaluate(() => performance.now())
    const { requests, bytes, firstPaint } = await measure(page)
    // Charts and live values come a little later.
    await sleep(1500)
    const file = `${out}/${name}-${view}.png`
    await page.screenshot({ path: file })
    await close()
    const { size } = await stat(file)
    process.stdout.write(
      `${`${name}, ${view}`.padEnd(22)} ${String(requests).padStart(3)} requests ${(bytes / 1000).toFixed(1).padStart(7)} KB, first paint ${String(Math.round(firstPaint)).padStart(4)} ms, content ${String(Math.round(content)).padStart(4)} ms; picture ${Math.round(size / 1000)} KB\n`,
    )
    for (const problem of problems) process.stdout.write(`  ${problem}\n`)
  }
}

const run = async (out: string, seconds: number): Promise<void> => {
  await mkdir(out, { recursive: true })
  const receiver = await startReceiver()
  const dashboard = await startDashboard({ WEBHOOK_PRIVATE_ADDRESSES: '127.0.0.1' })
  const stopFleet = startFleet(dashboard)
  try {
    await watchFleet(dashboard, receiver.url)
    await sleep(seconds * 1000)
    await breakMessages(dashboard)
    await tendAlerts(dashboard)
    for (const shot of shots) await take(dashboard, shot, out)
  } finally {
    stopFleet()
    await dashboard.close()
    await receiver.close()
  }
}

export const main = () =>
  runCommand(async () => {
    if (asksForHelp(process.argv.slice(2))) {
      process.stdout.write(help)
      return 0
    }
    const { values } = parseOptions({ options: { out: { type: 'string' }, seconds: { type: 'string' } } })
    const { out = fileURLToPath(new URL('docs/images', root)), seconds = '60' } = values
    await run(out, Number(seconds))
    return 0
  })
