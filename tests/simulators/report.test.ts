import { describe, expect, it } from 'vitest'
import type { Summary } from '../../simulators/fleet.ts'
import { columns, formatSummary, progressLine } from '../../simulators/report.ts'

const counts = { sent: 10, acknowledged: 9, stored: 9, missing: 0, altered: 0, unexpected: 0, late: 0 }
const summary: Summary = {
  ok: true,
  run: 'a1b2c3',
  seconds: 10,
  devices: [
    { id: 1, name: 'sim-a1b2c3-1', protocol: 'http', ...counts },
    { id: 12, name: 'sim-a1b2c3-12', protocol: 'mqtt', ...counts },
  ],
  total: { ...counts, sent: 20, acknowledged: 18, stored: 18 },
  retries: {},
  unacknowledged: { 'HTTP 422: No.': 2 },
  faults: [],
}

describe('the table', () => {
  it('shows every device and the total in aligned columns', () => {
    expect(formatSummary(summary)).toBe(
      `  device         id  protocol  sent  acknowledged  stored  missing  altered
  ────────────────────────────────────────────────────────────────────────
  sim-a1b2c3-1   1   HTTP        10             9       9        0        0
  sim-a1b2c3-12  12  MQTT        10             9       9        0        0
  ────────────────────────────────────────────────────────────────────────
  total                          20            18      18        0        0

All 18 acknowledged readings came back from the layer, each with its time and exact values.
Note: 2 readings without an acknowledgement (HTTP 422: No.), not counted as missing.
`.replaceAll(/─+/g, '─'.repeat(73)),
    )
  })

  it('says first of all what is wrong', () => {
    const bad = {
      ...summary,
      ok: false,
      total: { ...summary.total, missing: 2, altered: 1 },
      faults: ['one', 'two'],
    }
    expect(formatSummary(bad)).toContain(
      'FAILED: 2 missing and 1 altered of 18 acknowledged readings.\n  one\n  two\n  and 1 more\n',
    )
  })

  it('does not call it a success when nothing was acknowledged', () => {
    const none = { ...summary, ok: false, total: { ...counts, acknowledged: 0, stored: 0 } }
    expect(formatSummary(none)).toContain('No reading was acknowledged')
  })

  it('puts numbers to the right', () => {
    expect(
      columns([
        ['name', 'n'],
        ['a', 5],
        ['b', 1000],
      ]),
    ).toEqual(['name     n', 'a        5', 'b     1000'])
  })
})

describe('the progress line', () => {
  const shown = (isTTY: boolean) => {
    let text = ''
    const line = progressLine({ isTTY, write: (more: string) => (text += more) }, 30)
    line.show({ phase: 'sending', elapsedS: 12.7, sent: 36, acknowledged: 35 })
    line.clear()
    return text
  }

  it('is written over on a terminal, and absent elsewhere', () => {
    expect(shown(true)).toContain('sending, 12 of 30 s: 36 readings sent, 35 acknowledged')
    expect(shown(false)).toBe('')
  })
})
