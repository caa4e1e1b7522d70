import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { IngestMetrics } from '../../../lib/dashboard/ingest-metrics.ts'
import * as runtime from '../../../lib/runtime.ts'
import { webhookQueue } from '../../../lib/runtime-webhooks.ts'
import { Metrics } from '../../../local/metrics/metrics.ts'
import { describeWith } from '../../support/backends.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

const promtool = process.env.PROMTOOL ?? 'promtool'
const isThere = spawnSync(promtool, ['--version'], { stdio: 'ignore' }).status === 0

const ingest = new IngestMetrics()
const metrics = new Metrics({
  ingest,
  liveUpdates: undefined,
  overview: runtime.overview,
  webhooks: webhookQueue,
})
let functions: TestFunctions
let page = ''
beforeAll(async () => {
  // An odd broker: it is there, and does not answer.
  const iot = { endpoint: 'http://127.0.0.1:9', region: 'us-east-1' }
  functions = await openFunctions({}, iot, { metrics, batchObservers: [ingest], mqttConnections: () => 0 })
  const { id, key } = await functions.register()
  await functions.call('telemetry-submit', 'POST', '/api/v1/telemetry', { key, body: { 'a\u0001': 1 } })
  await functions.call('telemetry-latest', 'GET', `/api/v1/telemetry/${id}/latest`, { key })
  await functions.call('telemetry-submit', 'POST', '/api/v1/telemetry', { key: 'wrong' })
  metrics.webhooks.add('delivered')
  page = await metrics.write('text')
})
afterAll(() => functions.close())

interface Rules {
  readonly groups: readonly { rules: readonly { alert: string; expr: string }[] }[]
}
interface Dashboard {
  readonly panels: readonly { title: string; targets: readonly { expr: string }[] }[]
}

const rulesFile = 'local/stack/prometheus/rules.yml'
const { groups } = parse(readFileSync(rulesFile, 'utf8')) as Rules
const rules = groups.flatMap((group) => group.rules)
const dashboards = readdirSync('local/stack/grafana/dashboards').filter((file) => file.endsWith('.json'))
const panels = dashboards.flatMap(
  (file) => (JSON.parse(readFileSync(`local/stack/grafana/dashboards/${file}`, 'utf8')) as Dashboard).panels,
)
const used = [
  ...rules.map(({ alert, expr }) => ({ by: alert, expr })),
  ...panels.flatMap(({ title, targets }) => targets.map(({ expr }) => ({ by: title, expr }))),
]
const selectorsOf = (expr: string) => [
  ...expr.matchAll(/\b((?:iotflow|nodejs|process)_\w+)(?:\{([^}]*)\})?/g),
]

describe('dashboards and rules', () => {
  it('use metrics that the page has', () => {
    const names = new Set([...page.matchAll(/^(\w+)(?:\{| )/gm)].map(([, name]) => name))
    const missing = used.flatMap(({ by, expr }) =>
      selectorsOf(expr).flatMap(([, name]) => (names.has(name) ? [] : [`${by}: ${name}`])),
    )
    expect(missing).toEqual([])
    const found = used.flatMap(({ expr }) => selectorsOf(expr))
    expect(found.length).toBeGreaterThan(30)
  })

  it('use labels and values that the page has', () => {
    const lines = page.split('\n')
    for (const { by, expr } of used)
      for (const [, name = '', labels = ''] of selectorsOf(expr))
        for (const label of labels.split(',').filter((one) => one !== '' && !one.startsWith('job=')))
          expect(
            lines.some((line) => line.startsWith(name) && line.includes(label)),
            `${by}: ${label}`,
          ).toBe(true)
    for (const { by, expr } of used)
      for (const [, list = ''] of expr.matchAll(/\bby \(([^)]*)\)/g))
        for (const label of list.split(',').map((one) => one.trim()))
          expect(page, by).toMatch(new RegExp(`[{,]${label}="`))
  })

  it('show every metric of webhooks and of alerts', () => {
    const shown = new Set(
      panels
        .flatMap(({ targets }) => targets.flatMap(({ expr }) => selectorsOf(expr)))
        .map(([, name]) => name?.replace(/_bucket$/, '')),
    )
    const ours = [...page.matchAll(/^# TYPE (iotflow_(?:webhook|alerts)_\w+) /gm)].map(([, name]) => name)
    expect(ours.length).toBeGreaterThan(5)
    expect(ours.filter((name) => !shown.has(name))).toEqual([])
  })

  it('have each expression once, and a sentence for each alert', () => {
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length)
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length)
    const document = readFileSync('docs/monitoring.md', 'utf8')
    expect(rules.filter(({ alert }) => !document.includes(`\`${alert}\``))).toEqual([])
  })

  it('are explained: docs/monitoring.md names every metric of this system, and no other', () => {
    const document = readFileSync('docs/monitoring.md', 'utf8')
    const ours = [...page.matchAll(/^# TYPE (iotflow_\w+) /gm)].map(([, name]) => name)
    const named = [...document.matchAll(/^\| `(iotflow_\w+)`/gm)].map(([, name]) => name)
    expect(named.sort()).toEqual(ours.sort())
  })
})

describeWith({ promtool: isThere }, 'promtool', () => {
  const run = (args: readonly string[], input?: string) => {
    const { status, stdout, stderr } = spawnSync(promtool, args, { input, encoding: 'utf8' })
    return { status, said: `${stdout}${stderr}` }
  }

  it('finds nothing wrong with the page', () => {
    const { status, said } = run(['check', 'metrics'], page)
    expect(said).toBe('')
    expect(status).toBe(0)
  })

  it('takes the rules', () => {
    const { status, said } = run(['check', 'rules', rulesFile])
    expect([status, said]).toEqual([0, expect.stringContaining(`SUCCESS: ${rules.length} rules found`)])
  })
})
