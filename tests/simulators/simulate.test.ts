import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FakeServer, startFakeServer } from './fake-server.ts'

let folder: string
let server: FakeServer | undefined
let child: ChildProcess | undefined
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'simulate-'))
})
afterEach(async () => {
  child?.kill('SIGKILL')
  child = undefined
  await server?.close()
  server = undefined
  rmSync(folder, { recursive: true })
})

/** The command as npm starts it. */
const program = ['scripts/run.mjs', 'simulators/simulate.ts']
const serverArguments = () => ['--url', server?.url ?? '', '--keys', join(folder, 'keys.json')]

const simulate = (...args: string[]) =>
  new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
    child = spawn(process.execPath, [...program, ...args])
    let out = ''
    let err = ''
    child.stdout?.on('data', (chunk) => {
      out += chunk
    })
    child.stderr?.on('data', (chunk) => {
      err += chunk
    })
    child.on('close', (code) => resolve({ code, out, err }))
  })

describe('npm run simulate', () => {
  it('exits with 1 when one acknowledged reading is lost, and with 0 when none is', async () => {
    let lose = true
    server = await startFakeServer({ store: (reading, n) => (lose && n === 4 ? undefined : reading) })
    const args = [...serverArguments(), '--devices', '2', '--duration', '1', '--rate', '5']
    const bad = await simulate(...args)
    expect(bad.out).toContain('FAILED: 1 missing, 0 duplicated and 0 altered of ')
    expect(bad.code).toBe(1)

    lose = false
    const good = await simulate(...args, '--json')
    const summary = JSON.parse(good.out)
    expect(summary).toMatchObject({ ok: true, total: { missing: 0, duplicated: 0 } })
    expect(summary.devices).toHaveLength(2)
    expect(good.out).not.toMatch(/key-/i)
    expect(good).toMatchObject({ code: 0, err: '' })
  })

  it('exits with 2 and one sentence for a bad argument', async () => {
    const { code, out, err } = await simulate('--devices', 'many')
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toBe('--devices must be a whole number from 1 to 10000, not "many".\n')
  })

  it('exits with 1 and one sentence when nothing answers', async () => {
    const { code, err } = await simulate('--url', 'http://127.0.0.1:9', '--no-keys')
    expect(code).toBe(1)
    expect(err).toMatch(/^Nothing answers at http:\/\/127\.0\.0\.1:9: [^\n]+\.\n$/)
  })

  it('explains itself', async () => {
    const { code, out } = await simulate('--help')
    expect(code).toBe(0)
    expect(out).toContain('--interactive')
  })

  it('is not interactive without a terminal', async () => {
    server = await startFakeServer()
    const { code, err } = await simulate('--interactive', ...serverArguments())
    expect({ code, err }).toEqual({ code: 2, err: '--interactive needs a terminal.\n' })
  })

  it('checks what was sent when it is interrupted', async () => {
    server = await startFakeServer()
    const ended = simulate(...serverArguments(), '--devices', '3', '--rate', '10', '--duration', '1h')
    await expect.poll(() => server?.arrivals.length).toBeGreaterThan(20)
    child?.kill('SIGINT')
    const { code, out } = await ended
    expect(out).toMatch(/^All \d+ acknowledged readings came back/m)
    expect(code).toBe(0)
  })
})

/** A person at a terminal of 100 columns: `script` of util-linux gives the program a pseudo-terminal. */
class Person {
  /** Everything that was shown. */
  shown = ''
  readonly ended: Promise<number | null>
  readonly #child: ChildProcess

  constructor(args: readonly string[]) {
    const command = [process.execPath, ...program, ...args].map((part) => `'${part}'`).join(' ')
    this.#child = spawn('script', ['-qfec', `stty cols 100 rows 40; exec ${command}`, '/dev/null'])
    child = this.#child
    this.#child.stdout?.on('data', (chunk) => {
      this.shown += chunk
    })
    this.ended = new Promise((resolve) => this.#child.on('close', resolve))
  }

  type(keys: string): void {
    this.#child.stdin?.write(keys)
  }

  /** Waits until a text is shown after everything that was seen before. */
  async sees(text: string | RegExp): Promise<void> {
    const matches = () => {
      const plain = stripVTControlCharacters(this.shown)
      return typeof text === 'string' ? plain.includes(text) : text.test(plain)
    }
    await expect.poll(matches, { message: `sees ${text}` }).toBe(true)
    this.shown = ''
  }
}

const enter = '\r'
const down = '\u001b[B'

describe('npm run simulate -- --interactive at a terminal', () => {
  it('adds, breaks, repairs and stops devices, and ends with the table', async () => {
    server = await startFakeServer()
    const person = new Person([...serverArguments(), '--interactive', '--preset', 'home', '--rate', '2'])
    await person.sees(/sending, 9 devices.*online 9/s)
    await person.sees('a add   s stop   b break   r repair   q finish')

    person.type('a')
    await person.sees('Which devices?')
    person.type(`${down}${enter}`)
    await person.sees('How many?')
    person.type(`2${enter}`)
    await person.sees(/2 devices more\./)
    expect(server.names).toContain('home-door_lock-4')

    person.type('b')
    await person.sees('Which device breaks?')
    person.type('camera')
    await person.sees('home-camera-1 (online)')
    person.type(enter)
    await person.sees('What breaks?')
    person.type(`${down}${enter}`)
    await person.sees('home-camera-1 is broken: connection.')
    await person.sees('broken 1')

    person.type('r')
    await person.sees('home-camera-1 (broken)')
    person.type(enter)
    await person.sees('home-camera-1 is repaired.')
    await person.sees('online 11')

    person.type('s')
    await person.sees('Which device ends?')
    person.type(`motion`)
    await person.sees('home-motion-1 (online)')
    person.type(enter)
    await person.sees('home-motion-1 has ended.')

    person.type('b')
    await person.sees('Which device breaks?')
    person.type('\u0003')
    await person.sees('q finish')

    person.type('q')
    await person.sees(/All \d+ acknowledged readings came back/)
    expect(await person.ended).toBe(0)
  })

  it('ends with Ctrl-C too, and leaves the terminal as it was', async () => {
    server = await startFakeServer()
    const person = new Person([
      ...serverArguments(),
      '--interactive',
      '--device-type',
      'temperature',
      '--rate',
      '5',
    ])
    await person.sees('online 1')
    await person.sees(/[1-9]\d* acknowledged/)
    person.type('\u0003')
    await expect.poll(() => person.shown).toMatch(/All \d+ acknowledged readings came back/)
    expect(await person.ended).toBe(0)
    // The cursor is shown again.
    expect(person.shown.lastIndexOf('\u001b[?25h')).toBeGreaterThan(person.shown.lastIndexOf('\u001b[?25l'))
  })
})
