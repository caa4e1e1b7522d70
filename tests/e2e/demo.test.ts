import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'

/** Runs the command of `npm run demo` without npm, so that exit code and signals are those of the script. */
const demo = (args: string[], onOutput?: (out: string, end: () => void) => void) =>
  new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: { demo: string } }
    const [program, ...own] = scripts.demo.split(' ')
    expect(program).toBe('node')
    const child = spawn(process.execPath, [...own, ...args])
    let out = ''
    let err = ''
    child.stdout.on('data', (chunk) => {
      out += chunk
      onOutput?.(out, () => child.kill('SIGINT'))
    })
    child.stderr.on('data', (chunk) => {
      err += chunk
    })
    child.on('close', (code) => resolve({ code, out, err }))
  })

/** Resolves when the first device has a reading. */
const firstReading = async (httpUrl: string) => {
  while (!(await fetch(`${httpUrl}/api/v1/telemetry/1/latest`)).ok) await sleep(100)
}

const dataDirOf = (out: string) => /data {2}(\S+),/.exec(out)?.[1] ?? 'not shown'

it('shows a fleet of six devices that loses no reading, and deletes its data', async () => {
  const { code, out, err } = await demo(['--duration', '3'])
  expect(err).toBe('')
  expect(Number(/total +(\d+) +\1 +\1 +0 +0 +0\n/.exec(out)?.[1])).toBeGreaterThanOrEqual(12)
  expect(out.match(/^ {2}sim-\w+-\d +\d +HTTP +([1-3]) +\1 +\1 +0 +0 +0$/gm)).toHaveLength(3)
  expect(out.match(/^ {2}sim-\w+-\d +\d +MQTT +([1-3]) +\1 +\1 +0 +0 +0$/gm)).toHaveLength(3)
  expect(out).toMatch(/GET \/api\/v1\/telemetry\/\d+\/latest\n {2}timestamp +\S+Z\n/)
  expect(out).toMatch(/\/aggregated\?\S+\n {2}\S+Z {2}-?[\d.]+ °C\n/)
  expect(dataDirOf(out)).toContain('iotflow-demo-')
  expect(existsSync(dataDirOf(out))).toBe(false)
  expect(code).toBe(0)
})

it('ends with Ctrl-C after it has compared the readings that were sent', async () => {
  let waiting = false
  const { code, out, err } = await demo(['--duration', '600'], (text, end) => {
    const [, httpUrl] = /^ {2}HTTP {2}(\S+)$/m.exec(text) ?? []
    if (waiting || httpUrl === undefined || !text.includes('compared.')) return
    waiting = true
    void firstReading(httpUrl).then(end)
  })
  expect(err).toBe('')
  expect(out).toMatch(/total +(\d+) +\1 +\1 +0 +0 +0\n/)
  expect(existsSync(dataDirOf(out))).toBe(false)
  expect(code).toBe(0)
})
