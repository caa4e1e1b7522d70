import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { loadFunctions } from '../../local/functions.ts'
import { loadOperations, type Operation } from '../../scripts/openapi/operations.ts'
import { describeWith } from '../support/backends.ts'
import { type Deployment, deployments } from '../support/deployments.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** schemathesis (from PyPI) calls every operation with values that its document allows, and with others. */
const program = process.env.SCHEMATHESIS ?? 'schemathesis'
const isThere = spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0

const settings = {
  // Random times are seldom within the retention.
  RETENTION_DAYS: '0',
  // A random `wait` would hold the call.
  COMMAND_POLL_MAX_S: '0',
  LOG_LEVEL: 'error',
}
const operations = await loadOperations(await loadFunctions())
/** The number of devices that schemathesis.toml expects. */
const devices = 20
const idsOf = (is: (operation: Operation) => boolean) => operations.filter(is).map(({ id }) => id)

type Credential = (key: string, deployment: Deployment) => string

const post = async (url: string, body: unknown, key = ''): Promise<unknown> => {
  const headers = { 'Content-Type': 'application/json', 'X-API-Key': key }
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  expect(answer.status).toBe(201)
  return answer.json()
}

/** Drawn values for each operation, beside the many that are not drawn: both run the same functions, and one is slow. */
const examples = { 'npm start': 12, 'npm run dev': 4 } as const

/** Runs schemathesis on a server of its own. @returns its output; the last line is the summary. */
const run = async (
  name: keyof typeof examples,
  ids: readonly string[],
  credential: Credential,
): Promise<string> => {
  const folder = await temporaryFolder()
  let deployment: Deployment | undefined
  try {
    deployment = await deployments[name](settings)
    const { httpUrl } = deployment
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
      `hooks = ${JSON.stringify(resolve('tests/e2e/schemathesis_hooks.py'))}\n\n` +
        credential(keys[0] ?? '', deployment) +
        (await readFile('tests/e2e/schemathesis.toml', 'utf8')),
    )
    const args = ['--config-file', config, 'run', `${httpUrl}/openapi.json`]
    args.push(
      '--max-examples',
      String(examples[name]),
      '--seed',
      '1',
      // A test call of a webhook may take 10 s, and does where names cannot be looked up.
      '--request-timeout',
      '30',
      '--continue-on-failure',
      '--no-color',
      '--no-shrink',
    )
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
    await deployment?.stop()
    await folder.remove()
  }
}

const asDevice: Credential = (key) => `[auth.openapi.DeviceKey]\napi_key = "${key}"\n\n`
const asAdmin: Credential = (_key, deployment) =>
  `[auth.openapi.AdminToken]\nbearer = "${deployment.adminToken}"\n\n`
/** Its answer has no end. */
const stream = 'admin-stream'
/** The operation that ends the key of the run: it runs alone. */
const rotation = 'devices-rotate-key'

const body = (deployment: keyof typeof examples) => {
  let said: Promise<string[]>

  beforeAll(() => {
    const byDevice = idsOf((one) => !['admin', 'metrics'].includes(one.access) && one.id !== rotation)
    const byAdmin = idsOf(({ access, id }) => ['admin', 'metrics', 'read'].includes(access) && id !== stream)
    said = Promise.all([
      run(deployment, byDevice, asDevice),
      run(deployment, byAdmin, asAdmin),
      run(deployment, [rotation], asDevice),
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
      expect(Number(/(\d+) generated/.exec(out)?.[1]), out).toBeGreaterThan(who === 'rotation' ? 30 : 1000)
    },
    900_000,
  )
}

for (const deployment of ['npm start', 'npm run dev'] as const)
  describeWith({ schemathesis: isThere }, `schemathesis on ${deployment}`, () => body(deployment))
