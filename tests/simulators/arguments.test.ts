import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { UsageError } from '../../scripts/command.ts'
import { parseArguments } from '../../simulators/arguments.ts'
import { noFaults } from '../../simulators/faults.ts'
import { profiles } from '../../simulators/profiles.ts'

afterEach(() => {
  vi.unstubAllEnvs()
})

const fleetOf = (text: string) => {
  const { fleet } = parseArguments(text === '' ? [] : text.split(' '))
  return { ...fleet, types: fleet.types.map(({ name }) => name) }
}

describe('the arguments of npm run simulate', () => {
  it('have defaults: a home for a minute', () => {
    vi.stubEnv('ADMIN_TOKEN', '')
    vi.stubEnv('ENROLLMENT_KEY', '')
    const { fleet, ...others } = parseArguments([])
    expect(others).toEqual({ help: undefined, json: false, interactive: false })
    expect(fleet.types).toHaveLength(9)
    expect(fleet).toMatchObject({
      durationS: 60,
      protocol: 'mixed',
      mqttVersion: '3.1.1',
      profile: profiles.default,
      rates: noFaults,
      site: 'home',
      name: 'sim',
      seed: 1,
      startAt: undefined,
      url: 'http://127.0.0.1:5000',
      mqttUrl: undefined,
      enrollmentKey: undefined,
      adminToken: undefined,
      keyFile: '.iotflow-simulator/keys.json',
      serverPid: undefined,
    })
  })

  it('are all read', () => {
    const text =
      '--preset office --devices 12 --duration 2.5m --profile industrial --interval 0.5 --protocol mqtt --mqtt-version 5 --name lab --seed 9 --start 2026-06-01T08:00:00Z --failure-rate 5% --disconnect-rate 0.01 --duplicate-rate 2% --out-of-order-rate 3% --offline-rate 1% --offline-time 10s --wrong-clock-rate 100% --command-silent-rate 5% --command-duplicate-rate 2% --latency 250 --url https://iot.example/ --mqtt-url wss://iot.example/mqtt --enrollment-key abc --admin-token xyz --keys /tmp/keys --json --server-pid 77'
    expect(parseArguments(text.split(' ')).json).toBe(true)
    expect(fleetOf(text)).toEqual({
      types: expect.arrayContaining(['temperature', 'air_quality']),
      site: 'office',
      name: 'lab',
      durationS: 150,
      profile: { ...profiles.industrial, intervalS: 0.5 },
      protocol: 'mqtt',
      mqttVersion: '5',
      seed: 9,
      startAt: Date.parse('2026-06-01T08:00:00Z'),
      rates: {
        failure: 0.05,
        disconnect: 0.01,
        duplicate: 0.02,
        outOfOrder: 0.03,
        offline: 0.01,
        offlineS: 10,
        wrongClock: 1,
        silent: 0.05,
        answerTwice: 0.02,
        latencyMs: 250,
      },
      url: 'https://iot.example',
      mqttUrl: 'wss://iot.example/mqtt',
      enrollmentKey: 'abc',
      adminToken: 'xyz',
      keyFile: '/tmp/keys',
      serverPid: 77,
    })
  })

  it('choose the devices', () => {
    expect(fleetOf('--preset factory').types).toHaveLength(30)
    expect(fleetOf('--preset factory').name).toBe('factory')
    expect(fleetOf('--preset home --devices 18').types).toHaveLength(18)
    expect(fleetOf('--device-type tracker').types).toEqual(['tracker'])
    expect(fleetOf('--device-type tracker --devices 3').types).toEqual(['tracker', 'tracker', 'tracker'])
    expect(new Set(fleetOf('--devices 9').types).size).toBe(9)
    expect(fleetOf('--devices 10000').types).toHaveLength(10_000)
  })

  it('accept both for mixed, --rate for an interval, and no keys', () => {
    expect(fleetOf('--protocol both').protocol).toBe('mixed')
    expect(fleetOf('--rate 4').profile).toMatchObject({ intervalS: 0.25 })
    expect(fleetOf('--no-keys').keyFile).toBeUndefined()
  })

  it('take secrets from the environment', () => {
    vi.stubEnv('ADMIN_TOKEN', 'from-env')
    vi.stubEnv('ENROLLMENT_KEY', 'key-from-env')
    expect(fleetOf('')).toMatchObject({ adminToken: 'from-env', enrollmentKey: 'key-from-env' })
    expect(fleetOf('--admin-token mine')).toMatchObject({ adminToken: 'mine' })
  })

  it('without an end when interactive', () => {
    expect(fleetOf('--interactive').durationS).toBe(Number.POSITIVE_INFINITY)
    expect(fleetOf('--interactive --duration 5').durationS).toBe(5)
  })

  it.each(['--help', '-h', '--devices 3 --help'])('explain themselves with %s', (text) => {
    const { help } = parseArguments(text.split(' '))
    for (const word of ['--preset', '--failure-rate', 'Examples:', 'Exit code:']) expect(help).toContain(word)
    expect(Math.max(...(help ?? '').split('\n').map(({ length }) => length))).toBeLessThanOrEqual(120)
  })

  it('are understood as the documents show them', () => {
    const texts = ['docs/getting-started.md', 'docs/simulators.md'].map((file) => readFileSync(file, 'utf8'))
    const shown = [...texts, parseArguments(['--help']).help ?? ''].flatMap((text) =>
      [...text.matchAll(/npm run simulate -- (-[^\n`#]*)/g)].map(([, line = '']) => line.trim()),
    )
    expect(shown.length).toBeGreaterThan(10)
    for (const line of shown) expect(() => parseArguments(line.split(/\s+/)), line).not.toThrow()
  })

  it('are all named in the document', () => {
    const text = readFileSync('docs/simulators.md', 'utf8')
    const flags = (parseArguments(['--help']).help ?? '').match(/^ {2}(--[\w-]+)/gm) ?? []
    expect(flags.length).toBeGreaterThan(25)
    for (const flag of flags) expect(text).toContain(flag.trim())
  })

  it.each([
    ['--devices 0', '--devices'],
    ['--devices 10001', '--devices'],
    ['--devices 1.5', '--devices'],
    ['--devices=-5', '--devices'],
    ['--devices 1e3', '--devices'],
    ['--devices', '--devices'],
    ['--duration x', '--duration'],
    ['--duration 0', '--duration'],
    ['--duration 5d', '--duration'],
    ['--rate 0', '--rate'],
    ['--rate Infinity', '--rate'],
    ['--rate 1 --interval 1', '--rate'],
    ['--protocol coap', '--protocol'],
    ['--mqtt-version 4', '--mqtt-version'],
    ['--preset castle', '--preset'],
    ['--device-type toaster', '--device-type'],
    ['--preset home --device-type camera', '--device-type'],
    ['--profile lazy', '--profile'],
    ['--failure-rate 5', '--failure-rate'],
    ['--failure-rate 101%', '--failure-rate'],
    ['--failure-rate -1%', '--failure-rate'],
    ['--start yesterday', '--start'],
    ['--start 2026-06-01T08:00:00', '--start'],
    ['--name a/b', '--name'],
    ['--url localhost:5000', '--url'],
    ['--url mqtt://localhost', '--url'],
    ['--mqtt-url http://localhost', '--mqtt-url'],
    ['--interactive --json', '--interactive'],
    ['--speed 9', '--speed'],
    ['hello', 'argument'],
  ])('are refused in one sentence that names the wrong one: %s', (text, named) => {
    const attempt = () => parseArguments(text.split(' '))
    expect(attempt).toThrow(UsageError)
    expect(attempt).toThrow(named)
    expect(attempt).toThrow(/^[^\n]+\.$/)
  })
})
