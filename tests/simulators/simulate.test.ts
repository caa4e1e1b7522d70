import { spawn } from 'node:child_process'
import { afterEach, expect, it } from 'vitest'
import { type FakeLayer, startFakeLayer } from './fake-layer.ts'

let layer: FakeLayer | undefined
afterEach(() => layer?.close())

const simulate = (...args: string[]) =>
  new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
    const child = spawn(process.execPath, ['--import', 'tsx', 'simulators/simulate.ts', ...args])
    let out = ''
    let err = ''
    child.stdout.on('data', (chunk) => {
      out += chunk
    })
    child.stderr.on('data', (chunk) => {
      err += chunk
    })
    child.on('close', (code) => resolve({ code, out, err }))
  })

it('exits with 1 when one acknowledged reading is lost, and with 0 when none is', async () => {
  let lose = true
  layer = await startFakeLayer({ store: (reading, n) => (lose && n === 4 ? undefined : reading) })
  const args = [
    '--url',
    layer.url,
    '--mqtt-url',
    layer.mqttUrl,
    '--devices',
    '2',
    '--duration',
    '1',
    '--rate',
    '5',
  ]
  const bad = await simulate(...args)
  expect(bad.out).toContain('FAILED: 1 missing and 0 altered of ')
  expect(bad.code).toBe(1)

  lose = false
  const good = await simulate(...args, '--json')
  const summary = JSON.parse(good.out)
  expect(summary).toMatchObject({ ok: true, total: { missing: 0 } })
  expect(summary.devices).toHaveLength(2)
  expect(good.out).not.toMatch(/key/i)
  expect(good).toMatchObject({ code: 0, err: '' })
})

it('exits with 2 and one sentence for a bad argument', async () => {
  const { code, out, err } = await simulate('--devices', 'many')
  expect({ code, out }).toEqual({ code: 2, out: '' })
  expect(err).toBe('--devices must be a whole number from 1 to 10000, not "many".\n')
})
