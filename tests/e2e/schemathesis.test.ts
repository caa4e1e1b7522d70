import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Operation, operations } from '../../local/api.ts'
import { describeWith } from '../support/backends.ts'
import { type Door, type DoorName, doors } from '../support/doors.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** schemathesis of PyPI: calls every operation with what its document allows and with what it does not. */
const program = process.env.SCHEMATHESIS ?? 'schemathesis'
const isThere = spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0

const settings = {
  // A time that is drawn is seldom one of the last days.
  RETENTION_DAYS: '0',
  LOG_LEVEL: 'error',
}
/** As many as schemathesis.toml speaks of. */
const devices = 20
const idOf = ({ id, functionName }: Operation) => id ?? functionName
const idsOf = (is: (operation: Operation) => boolean) => operations.filter(is).map(idOf)

/** serverless-offline hands a body of `null` to a function as none at all, and here a body may be left out. */
const ofTheEmulator = `
[[operations]]
include-operation-id-regex = "rotate-key$|revoke-key$"
checks.negative_data_rejection.expected-statuses = [200, 400, 401, 403, 404, 415, 422]
`

type Credential = (key: string, door: Door) => string

const post = async (url: string, body: unknown, key = ''): Promise<unknown> => {
  const headers = { 'Content-Type': 'application/json', 'X-API-Key': key }
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  expect(answer.status).toBe(201)
  return answer.json()
}

/** Runs it on a layer of its own. Answers what it said; the last line sums it up. */
const run = async (name: DoorName, ids: readonly string[], credential: Credential): Promise<string> => {
  const folder = await temporaryFolder()
  let door: Door | undefined
  try {
    door = await doors[name](settings)
    const { httpUrl } = door
    const keys: string[] = []
    for (let n = 1; n <= devices; n += 1) {
      const made = await post(`${httpUrl}/api/v1/devices/register`, {
        name: `device ${n}`,
        device_type: 'sensor',
      })
      keys.push((made as { device: { api_key: string } }).device.api_key)
    }
    for (const key of keys) await post(`${httpUrl}/api/v1/telemetry`, { temperature: 21.5 }, key)
    const config = join(folder.path, 'schemathesis.toml')
    await writeFile(
      config,
      credential(keys[0] ?? '', door) +
        (await readFile('tests/e2e/schemathesis.toml', 'utf8')) +
        (name === 'npm run dev' ? ofTheEmulator : ''),
    )
    const args = ['--config-file', config, 'run', `${httpUrl}/openapi.json`]
    args.push('--max-examples', '20', '--seed', '1', '--continue-on-failure', '--no-color', '--no-shrink')
    args.push('--generation-database', 'none', ...ids.flatMap((id) => ['--include-operation-id', id]))
    const child = spawn(program, args, { cwd: folder.path, stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        out += chunk
      })
    const [code] = await once(child, 'close')
    return `${out}\nended with ${code}`
  } finally {
    await door?.stop()
    await folder.remove()
  }
}

const asDevice: Credential = (key) => `[auth.openapi.DeviceKey]\napi_key = "${key}"\n\n`
const asAdmin: Credential = (_key, door) => `[auth.openapi.AdminToken]\nbearer = "${door.adminToken}"\n\n`
/** Ends the key of the run: it goes alone. */
const rotation = 'devices-rotate-key'

const body = (door: DoorName) => {
  let said: Promise<string[]>

  beforeAll(() => {
    const byDevice = idsOf((one) => one.who !== 'admin' && idOf(one) !== rotation)
    const byAdmin = idsOf(({ who }) => who === 'admin' || who === 'read')
    said = Promise.all([
      run(door, byDevice, asDevice),
      run(door, byAdmin, asAdmin),
      run(door, [rotation], asDevice),
    ])
  })
  afterAll(() => said)

  it.each(['device', 'admin', 'rotation'])(
    'finds nothing: %s',
    async (who) => {
      const out = (await said)[['device', 'admin', 'rotation'].indexOf(who)] ?? ''
      console.log(
        out
          .split('\n')
          .filter((line) => /generated|Tested|Selected/.test(line))
          .join('\n'),
      )
      expect(out, out).toMatch(/\nended with 0$/)
      expect(Number(/(\d+) generated/.exec(out)?.[1]), out).toBeGreaterThan(who === 'rotation' ? 50 : 1000)
    },
    300_000,
  )
}

const both: DoorName[] = ['npm start', 'npm run dev']
for (const door of both) describeWith({ schemathesis: isThere }, `schemathesis on ${door}`, () => body(door))
