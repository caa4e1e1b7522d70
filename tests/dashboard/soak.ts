/** `npm run dashboard:soak`: keeps the overview open with live updates, and prints how the memory of the page grows. */
import { asksForHelp, parseOptions, runCommand } from '../../scripts/command.ts'
import { type Dashboard, openPage, startDashboard } from './browser.ts'
import { startFleet } from './fleet.ts'

const help = `Keeps the overview open in a Chromium while the office fleet of the simulator runs, and prints the heap of the page after a
garbage collection, each minute, and its slope.

  npm run dashboard:soak -- [--minutes <n>] [--path <page>]

  --minutes  15 by default
  --path     another page than the overview: /devices/1
`

const minuteMs = 60_000

/** KB per minute, by least squares. */
const slopeOf = (heaps: readonly number[]): number => {
  const middle = (heaps.length - 1) / 2
  const mean = heaps.reduce((sum, heap) => sum + heap, 0) / heaps.length
  const [above, below] = heaps.reduce(
    ([up, down], heap, at) => [up + (at - middle) * (heap - mean), down + (at - middle) ** 2],
    [0, 0],
  )
  return below === 0 ? 0 : above / below
}

const watch = async (
  { browser, server, adminToken }: Dashboard,
  path: string,
  minutes: number,
): Promise<void> => {
  const { page, problems } = await openPage(browser, server.httpUrl, adminToken, { path })
  const devtools = await page.context().newCDPSession(page)
  await devtools.send('HeapProfiler.enable')
  const heaps: number[] = []
  for (let minute = 0; minute <= minutes; minute += 1) {
    if (minute > 0) await page.waitForTimeout(minuteMs)
    await devtools.send('HeapProfiler.collectGarbage')
    const { usedSize } = await devtools.send('Runtime.getHeapUsage')
    const nodes = await page.evaluate('document.querySelectorAll("*").length')
    heaps.push(usedSize / 1000)
    process.stdout.write(
      `${String(minute).padStart(3)} min ${Math.round(usedSize / 1000)} KB, ${nodes} elements\n`,
    )
  }
  // The first minutes fill the hour of the chart and the list of events.
  const settled = heaps.slice(Math.min(3, heaps.length - 1))
  process.stdout.write(
    `Slope ${slopeOf(settled).toFixed(1)} KB/min after the third minute; ${problems.length} problems.\n`,
  )
  for (const problem of problems) process.stdout.write(`  ${problem}\n`)
}

export const main = () =>
  runCommand(async () => {
    if (asksForHelp(process.argv.slice(2))) {
      process.stdout.write(help)
      return 0
    }
    const { values } = parseOptions({ options: { minutes: { type: 'string' }, path: { type: 'string' } } })
    const dashboard = await startDashboard()
    const stopFleet = startFleet(dashboard)
    try {
      await watch(dashboard, values.path ?? '/', Number(values.minutes ?? 15))
    } finally {
      stopFleet()
      await dashboard.close()
    }
    return 0
  })
