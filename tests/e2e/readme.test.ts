import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Machine, startMachine } from '../support/machine.ts'

let machine: Machine
beforeAll(async () => {
  machine = await startMachine()
})
afterAll(() => machine.stop())

/** The shell blocks of a section, as they would be pasted, with the addresses of this run. */
const walk = (section: string): string => {
  const text = readFileSync('README.md', 'utf8').split(`## ${section}\n`)[1]?.split('\n## ')[0] ?? ''
  const blocks = [...text.matchAll(/```sh\n(.*?)```/gs)].map(([, block]) => block)
  return blocks
    .join('\n')
    .replaceAll('http://localhost:5000', machine.httpUrl)
    .replaceAll('-h localhost -p 1883', `-h 127.0.0.1 -p ${new URL(machine.mqttUrl).port}`)
}

const paste = (script: string) =>
  new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
    const shell = spawn('bash', ['-e', '-o', 'pipefail'])
    let [out, err] = ['', '']
    shell.stdout.on('data', (chunk) => {
      out += chunk
    })
    shell.stderr.on('data', (chunk) => {
      err += chunk
    })
    shell.on('close', (code) => resolve({ code, out, err }))
    shell.stdin.end(script)
  })

it('shows what the README says when its lines are pasted', async () => {
  const script = walk('Try it')
  expect(script).not.toMatch(/localhost/)
  expect(script.match(/\bcurl\b/g)).toHaveLength(5)
  const { code, out, err } = await paste(script)
  expect(code, err).toBe(0)
  const answers = out.split(/(?<=\})\s*(?=\{)/).map((text) => JSON.parse(text) as Record<string, unknown>)
  expect(answers).toMatchObject([
    { message: 'Device registered successfully', device: { name: 'greenhouse-1', status: 'active' } },
    { message: 'Telemetry stored successfully', accepted: 1, rejected: [] },
    { latest_data: { temperature: 24.1, humidity: 65.2, 'soil.moisture': 0.31 } },
    { count: 2, data: [{ temperature: 24.1 }, { temperature: 23.5, metadata: { sensor_status: 'active' } }] },
    { aggregation: 'mean', field: 'temperature' },
  ])
  const { data } = answers[4] as { data: { value: number }[] }
  // The two readings may fall on both sides of a full hour.
  expect(data.reduce((sum, { value }) => sum + value, 0) / data.length).toBeCloseTo(23.8, 9)
})
