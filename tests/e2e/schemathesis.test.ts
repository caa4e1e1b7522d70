import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Operation, operations } from '../../local/api.ts'
import { type Machine, startMachine } from '../support/machine.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** schemathesis of PyPI: calls every operation with what its document allows and with what it does not. */
const program = process.env.SCHEMATHESIS ?? 'schemathesis'
const isThere = spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0
const howTo = 'pip install schemathesis, and put it on the PATH or its path into SCHEMATHESIS'

const adminToken = 'an-admin-token-of-the-tests'
const settings = {
  ADMIN_TOKEN: adminToken,
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
  RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
  RATE_LIMIT_IP_PER_MINUTE: '0',
  // A time that is drawn is seldom one of the last days.
  RETENTION_DAYS: '0',
  LOG_LEVEL: 'error',
}
/** As many as schemathesis.toml speaks of. */
const devices = 20
const idOf = ({ id, functionName }: Operation) => id ?? functionName
const idsOf = (is: (operation: Operation) => boolean) => operations.filter(is).map(idOf)

/** Runs it on a layer of its own. Answers what it said; the last line sums it up. */
const run = async (ids: readonly string[], credential: (key: string) => string): Promise<string> => {
  const folder = await temporaryFolder()
  let machine: Machine | undefined
  try {
    machine = await startMachine({ settings })
    const keys: string[] = []
    for (let n = 1; n <= devices; n += 1) keys.push((await machine.register()).key)
    for (const key of keys)
      await machine.request('POST', '/api/v1/telemetry', { key, body: { temperature: 21.5 } })
    const config = join(folder.path, 'schemathesis.toml')
    await writeFile(
      config,
      credential(keys[0] ?? '') + (await readFile('tests/e2e/schemathesis.toml', 'utf8')),
    )
    const args = ['--config-file', config, 'run', `${machine.httpUrl}/openapi.json`]
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
    await machine?.stop()
    await folder.remove()
  }
}

const asDevice = (key: string) => `[auth.openapi.DeviceKey]\napi_key = "${key}"\n\n`
const asAdmin = () => `[auth.openapi.AdminToken]\nbearer = "${adminToken}"\n\n`
/** Ends the key of the run: it goes alone. */
const rotation = 'devices-rotate-key'

const body = () => {
  let said: Promise<string[]>

  beforeAll(() => {
    const byDevice = idsOf((one) => one.who !== 'admin' && idOf(one) !== rotation)
    const byAdmin = idsOf(({ who }) => who === 'admin' || who === 'read')
    said = Promise.all([run(byDevice, asDevice), run(byAdmin, asAdmin), run([rotation], asDevice)])
  })
  afterAll(() => said)

  it.each(['device', 'admin', 'rotation'])('finds nothing: %s', async (who) => {
    const out = (await said)[['device', 'admin', 'rotation'].indexOf(who)] ?? ''
    console.log(
      out
        .split('\n')
        .filter((line) => /generated|Tested|Selected/.test(line))
        .join('\n'),
    )
    expect(out, out).toMatch(/\nended with 0$/)
    expect(Number(/(\d+) generated/.exec(out)?.[1]), out).toBeGreaterThan(who === 'rotation' ? 50 : 1000)
  })
}

if (isThere) describe('schemathesis', body)
else if (process.env.REQUIRE_BACKENDS === '1') {
  it('is there', () => {
    throw new Error(`REQUIRE_BACKENDS=1, but there is no schemathesis: ${howTo}`)
  })
} else {
  console.warn(`SKIPPED: schemathesis. It is not here: ${howTo}`)
  describe.skip('schemathesis', body)
}
