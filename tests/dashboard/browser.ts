/** Opens the dashboard of a real server in a real Chromium. */
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import axe from 'axe-core'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'

const named = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** The Chromium of this machine; undefined when there is none. */
export const chromiumFile =
  process.env.CHROMIUM ??
  (process.env.PATH ?? '')
    .split(delimiter)
    .flatMap((folder) => named.map((name) => join(folder, name)))
    .find((file) => existsSync(file))

/** What a test says it needs: `describeWith(needsChromium, 'the overview', …)`. */
export const needsChromium = { chromium: chromiumFile !== undefined && existsSync(chromiumFile) }

export const desktop = { width: 1280, height: 800 }
export const phone = { width: 390, height: 844 }

export interface OpenOptions extends BrowserContextOptions {
  /** False shows the sign-in. */
  readonly signedIn?: boolean
  /** Where to begin: `/dead-letters`. */
  readonly path?: string
  /** Answers of the server that the test expects to fail, and that the browser then complains of: a part of the address. */
  readonly expectedFailures?: readonly string[]
}

export interface OpenPage {
  readonly page: Page
  /** What went wrong in the page: errors, refusals by the policy, requests that failed or left the server. */
  readonly problems: string[]
  close(): Promise<void>
}

export interface Dashboard {
  readonly server: StandaloneServer
  readonly browser: Browser
  readonly adminToken: string
  /** Headers of an operator, for calls beside the page. */
  readonly asAdmin: { readonly Authorization: string }
  /** A new page in a browser context of its own. */
  open(options?: OpenOptions): Promise<OpenPage>
  close(): Promise<void>
}

const storageName = 'iotflow.admin-token'
/** Where there is no stream, the page asks for it once before it polls. */
const streamPath = '/api/v1/admin/stream'

/** A Chromium without a window. */
export const launchChromium = (): Promise<Browser> =>
  chromium.launch({
    timeout: 120_000,
    ...(chromiumFile === undefined ? {} : { executablePath: chromiumFile }),
  })

/** Opens a page of a server that runs already. */
export async function openPage(
  browser: Browser,
  httpUrl: string,
  adminToken: string,
  { signedIn = true, path = '/', expectedFailures = [], ...context }: OpenOptions = {},
): Promise<OpenPage> {
  const own = await browser.newContext({ viewport: desktop, ...context })
  if (signedIn)
    await own.addInitScript(
      `sessionStorage.setItem(${JSON.stringify(storageName)}, ${JSON.stringify(adminToken)})`,
    )
  const page = await own.newPage()
  // Far beyond what a page takes: on a machine that is busy with other tests everything takes ten times as long.
  page.setDefaultTimeout(60_000)
  const problems: string[] = []
  const isExpected = (url: string) => [...expectedFailures, streamPath].some((part) => url.includes(part))
  page.on('console', (message) => {
    const url = message.location().url
    if (message.type() === 'error' && !isExpected(url)) problems.push(`${message.text()} (${url})`)
  })
  page.on('pageerror', (error) => problems.push(String(error)))
  page.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(httpUrl))
      problems.push(`left the server: ${request.url()}`)
  })
  await page.goto(`${httpUrl}/#${path}`)
  return { page, problems, close: () => own.close() }
}

/** Starts a server and a browser. @param settings of the server, beside free ports and a temporary folder. */
export async function startDashboard(settings: Readonly<Record<string, string>> = {}): Promise<Dashboard> {
  const server = await startStandaloneServer({
    settings: { RATE_LIMIT_IP_PER_MINUTE: '100000', ...settings },
  })
  const browser = await launchChromium()
  const adminToken = settings.ADMIN_TOKEN ?? readFileSync(join(server.dataDir, 'admin-token'), 'utf8').trim()
  return {
    server,
    browser,
    adminToken,
    asAdmin: { Authorization: `Bearer ${adminToken}` },
    open: (options) => openPage(browser, server.httpUrl, adminToken, options),
    async close() {
      await browser.close()
      await server.stop()
    },
  }
}

interface AxeResult {
  readonly violations: readonly {
    readonly id: string
    readonly impact: string | null
    readonly help: string
    readonly nodes: readonly { readonly target: readonly unknown[]; readonly failureSummary?: string }[]
  }[]
}

/** What axe-core finds in the page as it is now: the rules of WCAG 2.2 A and AA, and its best practices. */
const violationsOf = async (page: Page): Promise<string[]> => {
  const { violations } = (await page.evaluate(
    'axe.run(document, { resultTypes: ["violations"] })',
  )) as AxeResult
  return violations.flatMap(({ id, impact, help, nodes }) =>
    nodes.map(
      ({ target, failureSummary }) => `${impact} ${id}: ${help}\n  ${target.join(' ')}\n  ${failureSummary}`,
    ),
  )
}

/** Fails with what axe-core finds in the page and still finds a little later. */
export async function expectAccessible(page: Page): Promise<void> {
  // As an expression of the debugger: the policy of the page refuses a script of another origin.
  await page.evaluate(axe.source)
  let found = await violationsOf(page)
  // On a busy machine a part of the page may still have the colours of the scheme before.
  for (let again = 0; again < 3 && found.length > 0; again += 1) {
    await page.waitForTimeout(500)
    found = await violationsOf(page)
  }
  if (found.length > 0) throw new Error(`axe-core found:\n${found.join('\n')}`)
}

/** Runs {@link expectAccessible} in the light and in the dark scheme. */
export async function expectAccessibleInBoth(page: Page): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await expectAccessible(page)
  }
}
