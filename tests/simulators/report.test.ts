import { describe, expect, it } from 'vitest'
import { columns, formatSummary } from '../../simulators/report.ts'
import type { Summary } from '../../simulators/summary.ts'

const counts = {
  sent: 10,
  acknowledged: 9,
  found: 9,
  missing: 0,
  duplicated: 0,
  altered: 0,
  unexpected: 0,
  late: 0,
}
const summary: Summary = {
  ok: true,
  run: 'a1b2c3',
  seconds: 10,
  devices: [
    { id: 1, name: 'sim-camera-1', type: 'camera', protocol: 'http', ...counts },
    { id: 12, name: 'sim-camera-12', type: 'camera', protocol: 'mqtt', ...counts },
  ],
  total: { ...counts, sent: 20, acknowledged: 18, found: 18 },
  retries: { 'HTTP 503': 3 },
  unacknowledged: { 'HTTP 422: No.': 2 },
  injected: { 'answer lost': 1, duplicate: 2 },
  commands: 1,
  configurations: 2,
  heartbeats: 4,
  latency_ms: { p50: 4.5, p99: 31 },
  simulator: { cpu_s: 1.2, cpu_percent: 12, memory_mib: 90 },
  server: { cpu_s: 2.5, cpu_percent: 25, memory_mib: 170 },
  faults: [],
}

describe('the table', () => {
  it('shows every device and the total in aligned columns', () => {
    expect(formatSummary(summary)).toBe(
      `  device         id  protocol  sent  acknowledged  found  missing  duplicated  altered
  ─
  sim-camera-1   1   HTTP        10             9      9        0           0        0
  sim-camera-12  12  MQTT        10             9      9        0           0        0
  ─
  total                          20            18     18        0           0        0

All 18 acknowledged readings came back from the server, each once, with its time and exact values.
18 readings in 10 s (1.8/s), acknowledged within 4.5 ms (median) and 31 ms (99 %)
simulator: 12 % of one core (1.2 s CPU), 90 MiB at most
server: 25 % of one core (2.5 s CPU), 170 MiB at most
Note: faults made on purpose: answer lost 1, duplicate 2.
Note: sent again 3 × after: HTTP 503.
Note: 2 readings without an acknowledgement (HTTP 422: No.), not counted as missing.
Note: 1 command and 2 configurations received.
`.replaceAll('─', '─'.repeat(84)),
    )
  })

  it('shows a large fleet by type', () => {
    const device = (id: number, type: string) => ({
      id,
      name: `sim-${type}-${id}`,
      type,
      protocol: 'mqtt' as const,
      ...counts,
    })
    const devices = Array.from({ length: 5000 }, (_, n) => device(n + 1, n % 2 === 0 ? 'camera' : 'motion'))
    const text = formatSummary({ ...summary, devices })
    expect(text).toMatch(/^ {2}camera +2500 +MQTT +25000 +22500 +22500 +0 +0 +0$/m)
    expect(text).toMatch(/^ {2}total +5000 /m)
    expect(text.split('\n').length).toBeLessThan(20)
  })

  it('begins the verdict with the faults', () => {
    const bad = {
      ...summary,
      ok: false,
      total: { ...summary.total, missing: 2, duplicated: 1, altered: 1 },
      faults: ['one', 'two'],
    }
    expect(formatSummary(bad)).toContain(
      'FAILED: 2 missing, 1 duplicated and 1 altered of 18 acknowledged readings.\n  one\n  two\n  and 2 more\n',
    )
  })

  it('reports no success when nothing was acknowledged', () => {
    const none = { ...summary, ok: false, total: { ...counts, acknowledged: 0, found: 0 } }
    expect(formatSummary(none)).toContain('No reading was acknowledged')
  })

  it('aligns numbers to the right', () => {
    expect(
      columns([
        ['name', 'n'],
        ['a', 5],
        ['b', 1000],
      ]),
    ).toEqual(['name     n', 'a        5', 'b     1000'])
  })
})
