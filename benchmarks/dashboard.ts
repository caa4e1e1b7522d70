/** `npm run bench:dashboard`: how soon pages are painted in a Chromium, and whether an open page grows. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Browser, type CDPSession, chromium, type Page } from 'playwright-core'
import { numberArgument, parseOptions, UsageError } from '../scripts/command.ts'
import { fillFleet } from './large-fleet.ts'
import { median } from './measure.ts'
import { type Server, startServer } from './process.ts'
import type { StandaloneFacts } from './servers/standalone.ts'
import { slopeOf } from './slope.ts'
import { fillYear } from './year.ts'

const help = `Pages of the dashboard in a real Chromium.

  npm run bench:dashboard -- overview|paint|list|heap [options]

  overview          the overview of a large fleet with its readings
    --data-dir <f>  a folder of npm run bench:fill, which the server changes; by default one is filled with
                    --devices and 100 readings of each

  paint             the page of a device with a year of readings, in several ranges
    --every <s>     seconds between two readings (60)
  list              the list of devices
    --devices <n>   how many there are (100000)
  heap              the page of a device that sends five times a second stays open; after each garbage collection
                    its heap is measured
    --minutes <n>   how long (15)
  --rounds <n>      of overview, paint and list; the median counts (5)
  --help            this

CHROMIUM names the browser (/usr/bin/chromium).
`

const adminToken = 'a-token-for-this-measurement-only'
const ranges = ['1h', '24h', '30d', '1y'] as const

interface Stage {
  readonly server: Server<StandaloneFacts>
  readonly url: string
  readonly browser: Browser
}

/** A page in a context of its own, signed in, with nothing in its cache. */
const openPage = async (
  { browser, url }: Pick<Stage, 'browser' | 'url'>,
  path: string,
): Promise<{ page: Page; session: CDPSession }> => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
  await context.addInitScript({
    content: `sessionStorage.setItem('iotflow.admin-token', ${JSON.stringify(adminToken)})`,
  })
  const page = await context.newPage()
  const session = await context.newCDPSession(page)
  await session.send('Performance.enable', { timeDomain: 'threadTicks' })
  await page.goto(`${url}/#${path}`)
  return { page, session }
}

/** Milliseconds from the begin of the navigation until a frame in which the selector fits something was painted. */
const paintedAt = (page: Page, selector: string): Promise<number> =>
  page.evaluate(`new Promise((resolve) => {
    const look = () => {
      if (document.querySelector(${JSON.stringify(selector)}) === null) requestAnimationFrame(look)
      else requestAnimationFrame(() => resolve(performance.now()))
    }
    look()
  })`)

interface Costs {
  /** Of each selector, milliseconds from the begin of the navigation. */
  readonly times: readonly number[]
  /** Processor time of the tasks of the page's main thread, ms: the part that no other program on the machine changes. */
  readonly pageMs: number
  readonly serverMs: number
}

/** @param selectors each of something that has to be seen. @param pauseMs before each round. @returns medians of the rounds. */
async function costsOf(
  stage: Stage,
  path: string,
  selectors: readonly string[],
  rounds: number,
  pauseMs = 0,
): Promise<Costs> {
  const measured: number[][] = selectors.map(() => [])
  const [pages, servers]: [number[], number[]] = [[], []]
  for (let round = 0; round < rounds; round += 1) {
    await sleep(pauseMs)
    const before = await stage.server.cpu()
    const { page, session } = await openPage(stage, path)
    const found = await Promise.all(selectors.map((selector) => paintedAt(page, selector)))
    for (const [at, time] of found.entries()) measured[at]?.push(time)
    const { metrics } = await session.send('Performance.getMetrics')
    pages.push((metrics.find(({ name }) => name === 'TaskDuration')?.value ?? 0) * 1000)
    servers.push(((await stage.server.cpu()) - before) / 1000)
    await page.context().close()
  }
  return {
    times: measured.map((times) => Math.round(median(times))),
    pageMs: Math.round(median(pages)),
    serverMs: Math.round(median(servers)),
  }
}

const call = async (url: string, path: string, contentType: string, body: string): Promise<unknown> => {
  const headers = { Authorization: `Bearer ${adminToken}`, 'Content-Type': contentType }
  const response = await fetch(`${url}${path}`, { method: 'POST', headers, body })
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`)
  return response.json()
}

interface NewDevice {
  readonly id: number
  readonly api_key: string
}

const registerDevices = async (url: string, first: number, count: number): Promise<NewDevice[]> => {
  const rows = Array.from({ length: count }, (_, n) => `device-${first + n},climate,Hall ${n % 40}`)
  const body = ['name,device_type,location', ...rows, ''].join('\n')
  const answer = await call(url, '/api/v1/admin/devices/import', 'text/csv', body)
  return (answer as { keys: NewDevice[] }).keys
}

const print = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

/** A server on a folder of its own; `work` gets the address. */
async function withServer<T>(
  folder: string,
  work: (url: string, server: Server<StandaloneFacts>) => Promise<T>,
): Promise<T> {
  const server: Server<StandaloneFacts> = await startServer('standalone.ts', {
    args: [folder, `ADMIN_TOKEN=${adminToken}`, 'RETENTION_DAYS=0', 'LOG_LEVEL=warn'],
  })
  try {
    return await work(`http://127.0.0.1:${server.facts.httpPort}`, server)
  } finally {
    await server.end()
  }
}

const lineOf = ({ times, pageMs, serverMs }: Costs): string =>
  [...times, pageMs, serverMs].map((ms) => `${ms} ms`.padStart(14)).join('')

async function paint(browser: Browser, folder: string, everyS: number, rounds: number): Promise<void> {
  const [device] = await withServer(folder, (url) => registerDevices(url, 1, 1))
  const id = device?.id ?? 0
  const readings = await fillYear(folder, id, everyS)
  await withServer(folder, async (url, server) => {
    // The catalogue of fields reads the store once; with devices that send it is written along.
    await fetch(`${url}/api/v1/telemetry/${id}/fields`)
    print(
      `a device with ${readings.toLocaleString('en')} readings of 6 fields in a year, median of ${rounds}`,
    )
    print('range    first points    all points      page CPU    server CPU')
    for (const range of ranges) {
      const selectors = [
        '.charts:not([data-points="0"])',
        '.charts:not(.loading-more):not([data-points="0"])',
      ]
      const costs = await costsOf(
        { browser, url, server },
        `/devices/${id}?range=${range}`,
        selectors,
        rounds,
      )
      print(`${range.padEnd(6)} ${lineOf(costs)}`)
    }
  })
}

/** Longer than the server keeps the numbers of the overview: each round counts anew. */
const numbersAgeMs = 6000

async function overview(browser: Browser, dataDir: string, rounds: number): Promise<void> {
  const numbers = ['.overview .figures dd']
  const firsts: Costs[] = []
  for (let round = 0; round < rounds; round += 1)
    await withServer(dataDir, async (url, server) => {
      firsts.push(await costsOf({ browser, url, server }, '/', numbers, 1))
    })
  const medianOf = (value: (costs: Costs) => number) => median(firsts.map(value))
  const first: Costs = {
    times: [medianOf(({ times }) => times[0] ?? 0)],
    pageMs: medianOf(({ pageMs }) => pageMs),
    serverMs: medianOf(({ serverMs }) => serverMs),
  }
  await withServer(dataDir, async (url, server) => {
    const stage = { browser, url, server }
    await costsOf(stage, '/', numbers, 1)
    print(`the overview, median of ${rounds}`)
    print('                             painted      page CPU    server CPU')
    print(`${'after a start'.padEnd(22)} ${lineOf(first)}`)
    print(`${'later'.padEnd(22)} ${lineOf(await costsOf(stage, '/', numbers, rounds, numbersAgeMs))}`)
  })
}

async function list(browser: Browser, folder: string, devices: number, rounds: number): Promise<void> {
  const perImport = 10_000
  await withServer(folder, async (url, server) => {
    for (let first = 1; first <= devices; first += perImport)
      await registerDevices(url, first, Math.min(perImport, devices - first + 1))
    print(`the list of ${devices.toLocaleString('en')} devices, median of ${rounds}`)
    print('                             painted      page CPU    server CPU')
    for (const query of ['', '?sort=name&order=desc', '?sort=last_seen', '?q=device-999', '?online=true']) {
      const costs = await costsOf({ browser, url, server }, `/devices${query}`, ['tbody tr, .empty'], rounds)
      print(`${query.padEnd(22)} ${lineOf(costs)}`)
    }
  })
}

const sampleEveryS = 30

async function heap(browser: Browser, folder: string, minutes: number): Promise<void> {
  await withServer(folder, async (url) => {
    const [device] = await registerDevices(url, 1, 1)
    // At fixed times, so that the chart always has as many points.
    let n = 0
    const sending = setInterval(() => {
      n += 1
      void fetch(`${url}/api/v1/telemetry`, {
        method: 'POST',
        headers: { 'X-API-Key': device?.api_key ?? '', 'Content-Type': 'application/json' },
        body: JSON.stringify({ temperature: 20 + Math.sin(n / 50), humidity: 50 + (n % 10), n }),
      }).then((response) => response.arrayBuffer())
    }, 200)
    const { page, session } = await openPage({ browser, url }, `/devices/${device?.id}?range=5m`)
    const samples: [minute: number, kilobytes: number][] = []
    const begin = performance.now()
    for (let minute = 0; minute <= minutes; ) {
      await session.send('HeapProfiler.collectGarbage')
      // What the first collection only marks as finished goes with the second one.
      await session.send('HeapProfiler.collectGarbage')
      const { usedSize } = await session.send('Runtime.getHeapUsage')
      minute = (performance.now() - begin) / 60_000
      samples.push([minute, usedSize / 1024])
      const points = await page.locator('.charts').getAttribute('data-points')
      const { metrics } = await session.send('Performance.getMetrics')
      const nodes = metrics.find(({ name }) => name === 'Nodes')?.value
      print(
        `${minute.toFixed(1).padStart(5)} min ${Math.round(usedSize / 1024)} KB, ${points} points, ${nodes} nodes`,
      )
      await sleep(sampleEveryS * 1000)
    }
    clearInterval(sending)
    // The chart fills in the first minutes: a range of five minutes has all its points then.
    const settled = samples.filter(([minute]) => minute >= Math.min(6, minutes / 2))
    print(
      `heap after garbage collection: ${slopeOf(settled).toFixed(1)} KB a minute, from minute ${settled[0]?.[0].toFixed(1)} on`,
    )
  })
}

export async function main(): Promise<void> {
  const { values, positionals } = parseOptions({
    allowPositionals: true,
    options: {
      'data-dir': { type: 'string' },
      every: { type: 'string', default: '60' },
      devices: { type: 'string', default: '100000' },
      minutes: { type: 'string', default: '15' },
      rounds: { type: 'string', default: '5' },
      help: { type: 'boolean', default: false },
    },
  })
  const [what] = positionals
  if (values.help) return print(help)
  const rounds = numberArgument('--rounds', values.rounds, { min: 1, max: 100 })
  const devices = numberArgument('--devices', values.devices, { min: 1, max: 1_000_000, whole: true })
  const folder = await mkdtemp(join(tmpdir(), 'iotflow-dashboard-'))
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium' })
  try {
    if (what === 'overview') {
      const filled = values['data-dir']
      if (filled === undefined) await fillFleet(folder, { devices, readings: 100, days: 30 })
      await overview(browser, filled ?? folder, rounds)
    } else if (what === 'paint')
      await paint(browser, folder, numberArgument('--every', values.every, { min: 1, max: 3600 }), rounds)
    else if (what === 'list') await list(browser, folder, devices, rounds)
    else if (what === 'heap')
      await heap(browser, folder, numberArgument('--minutes', values.minutes, { min: 1, max: 600 }))
    else throw new UsageError('overview, paint, list or heap is expected; --help shows more.')
  } finally {
    await browser.close()
    await rm(folder, { recursive: true, force: true })
  }
}
