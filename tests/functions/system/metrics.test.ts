import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { showMetrics } from '../../../functions/system/metrics.ts'
import { IngestMetrics } from '../../../lib/dashboard/ingest-metrics.ts'
import * as runtime from '../../../lib/runtime.ts'
import { webhookQueue } from '../../../lib/runtime-webhooks.ts'
import { Metrics } from '../../../local/metrics/metrics.ts'
import { openFunctions, type TestFunctions } from '../../support/functions.ts'

const metricsToken = 'a-metrics-token-of-the-tests'
const ingest = new IngestMetrics()
const metrics = new Metrics({
  ingest,
  liveUpdates: undefined,
  overview: runtime.overview,
  webhooks: webhookQueue,
})
let functions: TestFunctions
beforeAll(async () => {
  functions = await openFunctions({ METRICS_TOKEN: metricsToken }, undefined, {
    metrics,
    batchObservers: [ingest],
  })
})
afterAll(() => functions.close())

const scrape = (headers: Record<string, string> = { Authorization: `Bearer ${metricsToken}` }) =>
  functions.call('system-metrics', 'GET', '/metrics', { headers })
/** The value of a sample; undefined when there is none. */
const sampleOf = (text: string, sample: string) =>
  text
    .split('\n')
    .find((line) => line.startsWith(`${sample} `))
    ?.split(' ')[1]

describe('who may call', () => {
  it.each([
    ['the metrics token', () => metricsToken, 200],
    ['the admin token', () => functions.adminToken, 200],
    ['another token', () => 'x'.repeat(28), 401],
  ])('%s', async (_who, token, status) => {
    expect((await scrape({ Authorization: `Bearer ${token()}` })).status).toBe(status)
  })

  it('is nobody else', async () => {
    const { key } = await functions.register()
    expect((await scrape({})).status).toBe(401)
    expect((await scrape({ 'X-API-Key': key })).status).toBe(401)
  })

  it('the metrics token opens nothing else', async () => {
    const headers = { Authorization: `Bearer ${metricsToken}` }
    for (const [name, path] of [
      ['admin-dashboard', '/api/v1/admin/dashboard'],
      ['admin-settings', '/api/v1/admin/settings'],
      ['telemetry-history', '/api/v1/telemetry/1'],
    ] as const)
      expect((await functions.call(name, 'GET', path, { headers })).status, name).toBe(401)
  })
})

describe('the page', () => {
  it.each([
    [undefined, 'text/plain; version=0.0.4; charset=utf-8'],
    ['*/*', 'text/plain; version=0.0.4; charset=utf-8'],
    [
      'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
      'application/openmetrics-text; version=1.0.0; charset=utf-8',
    ],
    ['text/plain, application/openmetrics-text;q=0.5', 'text/plain; version=0.0.4; charset=utf-8'],
    ['application/openmetrics-text;version=2.0.0', 'text/plain; version=0.0.4; charset=utf-8'],
    ['application/openmetrics-text;q=0', 'text/plain; version=0.0.4; charset=utf-8'],
  ])('is for Accept: %s', async (accept, type) => {
    const { headers, text } = await scrape({
      Authorization: `Bearer ${metricsToken}`,
      ...(accept && { Accept: accept }),
    })
    expect(headers.get('content-type')).toBe(type)
    expect(text.endsWith('# EOF\n')).toBe(type.startsWith('application'))
  })

  it('counts readings, warnings, messages by door, and refused callers', async () => {
    const { id, key } = await functions.register()
    const send = (body: unknown) =>
      functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', { key, body })
    const { text: before } = await scrape()
    await send({ t: 1 })
    await send([{ values: { t: 1 } }, { values: {} }, { values: { 'a\u0001': 1 } }])
    await functions.invoke('telemetry-ingest', {
      payload: Buffer.from('no JSON').toString('base64'),
      topic: `iotflow/devices/${id}/telemetry`,
      client_id: String(id),
      received_at: Date.now(),
      message_id: 'm1',
    })
    await scrape({})
    const { text } = await scrape()
    const grown = (sample: string) => Number(sampleOf(text, sample)) - Number(sampleOf(before, sample) ?? 0)
    expect(grown('iotflow_ingest_readings_total{outcome="stored"}')).toBe(3)
    expect(grown('iotflow_ingest_readings_total{outcome="rejected"}')).toBe(2)
    expect(grown('iotflow_ingest_warnings_total{code="NAME_CHANGED"}')).toBe(1)
    expect(grown('iotflow_ingest_latency_seconds_count{door="http"}')).toBe(2)
    expect(grown('iotflow_auth_failures_total{door="http",kind="metrics_token"}')).toBe(1)
    expect(sampleOf(text, 'iotflow_devices{status="active"}')).toBeDefined()
    expect(sampleOf(text, 'iotflow_accounting_difference_readings')).toBe('0')
  })

  it('has the same series for any number of devices, and no text that a device sent', async () => {
    const seriesOf = async () => {
      const { text } = await scrape()
      const names = text.split('\n').filter((line) => line.startsWith('iotflow_'))
      return { text, series: names.map((line) => line.replace(/ \S+$/, '')).sort() }
    }
    const { series } = await seriesOf()
    for (let n = 0; n < 20; n += 1) {
      const { key } = await functions.register({ device_type: `odd-type-${n}` })
      await functions.call('telemetry-submit', 'POST', '/api/v1/devices/telemetry', {
        key,
        body: { [`odd-field-${n}`]: `odd-value-${n}` },
      })
    }
    const after = await seriesOf()
    expect(after.series).toEqual(series)
    expect(after.text).not.toContain('odd-')
    for (const [, le] of after.text.matchAll(/_bucket\{.*?le="([^"]+)"/g))
      expect(le).toMatch(/^([\d.]+|\+Inf)$/)
  })

  it('counts up in its buckets', async () => {
    const { text } = await scrape()
    const counts = text
      .split('\n')
      .filter((line) => line.startsWith('iotflow_ingest_latency_seconds_bucket{door="http"'))
      .map((line) => Number(line.split(' ')[1]))
    expect(counts.length).toBeGreaterThan(5)
    expect(counts).toEqual([...counts].sort((a, b) => a - b))
    expect(sampleOf(text, 'iotflow_ingest_latency_seconds_count{door="http"}')).toBe(String(counts.at(-1)))
  })
})

it('is not there in a process that answers few requests and ends', async () => {
  const access = await runtime.accessControl()
  const app = showMetrics({ metrics: undefined, log: runtime.log(), access })
  const answer = await app.request('/metrics', { headers: { Authorization: `Bearer ${metricsToken}` } })
  expect(answer.status).toBe(501)
})
