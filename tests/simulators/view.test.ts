import { afterEach, describe, expect, it } from 'vitest'
import { Fleet } from '../../simulators/fleet.ts'
import { Screen } from '../../simulators/screen.ts'
import { typesOfPreset } from '../../simulators/signals/device-types.ts'
import { bar, FleetView } from '../../simulators/view.ts'
import { type FakeServer, startFakeServer } from './fake-server.ts'
import { FakeTerminal } from './terminal.ts'

let server: FakeServer | undefined
let fleet: Fleet | undefined
let done: Promise<unknown> | undefined
afterEach(async () => {
  fleet?.stop()
  await done
  await server?.close()
  server = undefined
})

describe('the screen', () => {
  it('draws in place, over what stood there before', () => {
    const terminal = new FakeTerminal()
    terminal.write('$ npm run simulate\n')
    const screen = new Screen(terminal)
    screen.draw(['one', 'a longer line', 'three'])
    screen.draw(['1', '2'])
    expect(terminal.lines).toEqual(['$ npm run simulate', '1', '2'])
    screen.clear()
    terminal.write('done\n')
    expect(terminal.lines).toEqual(['$ npm run simulate', 'done'])
  })

  it('cuts what a narrow or low terminal cannot show', () => {
    const terminal = new FakeTerminal(10, 4)
    const screen = new Screen(terminal)
    const lines = ['0123456789012', 'b', 'c', 'd', 'e']
    screen.draw(lines)
    screen.draw(lines)
    expect(terminal.lines).toEqual(['012345678', 'b', 'c'])
  })

  it('never clears a frame before it writes the next one', () => {
    let text = ''
    const screen = new Screen({ isTTY: true, columns: 80, rows: 24, write: (more) => (text += more) })
    screen.draw(['one'])
    screen.draw(['two'])
    expect(text).not.toContain('\u001b[2J')
    expect(text).not.toContain('\u001b[2K')
    expect(text.match(/\u001b\[\?2026h[\s\S]*?\u001b\[\?2026l/g)).toHaveLength(2)
  })
})

describe('the view of a fleet', () => {
  const simulate = async (terminal: FakeTerminal | { write(text: string): void }) => {
    server = await startFakeServer()
    const running = new Fleet({
      url: server.url,
      protocol: 'mixed',
      types: typesOfPreset('factory'),
      site: 'factory',
      durationS: 60,
      profile: { intervalS: 0.2, heartbeatS: 60, gathered: 1 },
      settleMs: 0,
    })
    fleet = running
    const view = new FleetView(running, terminal)
    view.start()
    done = running.simulate()
    await expect.poll(() => running.statistics.acknowledged).toBeGreaterThan(50)
    return { running, view }
  }

  it('shows progress, rates, states and values on a terminal', async () => {
    const terminal = new FakeTerminal(100, 40)
    const { running, view } = await simulate(terminal)
    running.devices[0]?.break('power')
    view.draw()
    const text = terminal.lines.join('\n')
    expect(terminal.lines[0]).toMatch(/^00:\d\d of 01:00 {2}sending, 30 devices at http:\S+$/)
    expect(text).toMatch(/readings +\d+ sent, \d+ acknowledged, \d+ waiting/)
    expect(text).toMatch(/rate +[\d.]+\/s sent, [\d.]+\/s acknowledged/)
    expect(text).toMatch(/answers +\d+ ms median/)
    expect(text).toContain('online 29, broken 1')
    expect(text).toMatch(/^ industrial +12 × +state (?:running|idle) {2}load [\d.]+ %/m)
    for (const line of terminal.lines) expect(line.length).toBeLessThan(100)
    running.stop()
    await done
    view.stop()
    expect(terminal.lines).toEqual([''])
  })

  it('fits into 40 columns', async () => {
    const terminal = new FakeTerminal(40, 12)
    const { running, view } = await simulate(terminal)
    view.draw()
    expect(terminal.lines.length).toBeLessThan(12)
    for (const line of terminal.lines) expect(line.length).toBeLessThan(40)
    running.stop()
    await done
    view.stop()
  })

  it('writes plain lines elsewhere', async () => {
    let text = ''
    const { running, view } = await simulate({ write: (more) => (text += more) })
    view.stop()
    view.start()
    expect(text).toMatch(
      /^registering 0\/30\n(?:connecting .*\n|sending .*\n)*sending 00:\d\d of 01:00: \d+ sent, \d+ acknowledged, [\d.]+\/s, online 30\n$/,
    )
    expect(text).not.toContain('\u001b')
    running.stop()
    await done
    view.stop()
  })

  it('has a bar that is never wider than asked', () => {
    expect([bar(0, 4), bar(0.5, 4), bar(1, 4), bar(7, 4), bar(-1, 4)]).toEqual([
      '░░░░',
      '██░░',
      '████',
      '████',
      '░░░░',
    ])
  })
})
