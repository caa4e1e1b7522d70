/** Every command of the documents: run against a server as it is written, or named with the test that runs it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { iotflowProgram } from '../../cli/program.ts'
import { settingNames } from '../../lib/config.ts'
import { root } from '../../lib/root.ts'
import { blocksOf, documents, textOf } from '../support/documents.ts'
import { runProgram } from '../support/programs.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'

const rootFolder = fileURLToPath(root)

/** Documents whose commands run here, one after the other in one shell. */
const walked = [
  'docs/getting-started.md',
  'docs/devices.md',
  'docs/commands.md',
  'docs/alerts.md',
  'docs/operate.md',
]

/** Commands of other documents, with the test that runs them or what they do. */
const runElsewhere: readonly { readonly command: RegExp; readonly by: string }[] = [
  { command: /^git clone '<address of this repository>' iotflow && cd iotflow$/, by: '.ci/run' },
  { command: /^npm install && npm start$/, by: 'tests/support/standalone.ts' },
  { command: /^npm (?:install|test|run verify)\b/, by: '.ci/run' },
  { command: /^apt-get install mosquitto$/, by: '.ci/run' },
  { command: /^(?:ADMIN_TOKEN=\S+ \S+ )?npm run simulate /, by: 'tests/simulators/arguments.test.ts' },
  { command: /\bnpm run telemetry:copy /, by: 'tests/scripts/telemetry-copy/telemetry-copy.test.ts' },
  {
    command: /^(?:npm run mqtt:setup|mosquitto -c |MQTT_URL=)/,
    by: 'tests/local/mqtt/mosquitto/mosquitto.test.ts',
  },
  { command: /^npm run screenshots /, by: 'tests/dashboard/screenshots.ts' },
  { command: /^iotflow /, by: 'tests/cli/documents.test.ts' },
  { command: /^(?:sed .*|aws iam .*)deployer/, by: 'tests/e2e/deployer-policy.test.ts' },
  { command: /^aws iam create-open-id-connect-provider /, by: 'examples/deploy/github.yml' },
  { command: /^npm run costs\b/, by: 'tests/benchmarks/costs.test.ts' },
  { command: /^SQLD_MAX_CONCURRENT_CONNECTIONS=2 .*\bsqld /, by: 'benchmarks/queue.ts' },
  { command: /\bnpm run smoke -- /, by: 'tests/e2e/smoke.test.ts' },
  { command: /^curl -X POST \S+\/admin\/webhooks /, by: 'tests/functions/admin/create-webhook.test.ts' },
  { command: /^WEBHOOK_SECRET=\S+ .*webhook-relay\.mjs$/, by: 'tests/e2e/examples.test.ts' },
  { command: /^npm run redrive -- /, by: 'tests/e2e/redrive.test.ts' },
  { command: /^npx serverless remove /, by: 'tests/e2e/removal.test.ts' },
  // These need an account at AWS.
  {
    command: /^(?:aws (?:ssm|iot|logs) |export [A-Z_]+=|npm run deploy -- )/,
    by: 'tests/cloud/plugin/deployment.test.ts',
  },
]

/** The lines of a script; one that ends in a backslash or inside quotes goes on in the next. */
const commandsOf = (script: string): string[] =>
  script
    .replaceAll('\\\n', ' ')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))

const scripts = documents.flatMap((document) =>
  blocksOf(document).filter(({ language }) => language === 'sh'),
)

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let server: StandaloneServer
beforeAll(async () => {
  folder = await temporaryFolder()
  // The commands find the project in their folder, and a data directory of their own.
  for (const name of readdirSync(rootFolder))
    if (!name.startsWith('.')) await symlink(join(rootFolder, name), join(folder.path, name))
  server = await startStandaloneServer({ settings: { DATA_DIR: join(folder.path, '.iotflow') } })
})
afterAll(async () => {
  await server?.stop()
  await folder?.remove()
})

/** Runs the commands of a document as a reader does, with the addresses of this server. @returns what they print. */
const walk = async (path: string): Promise<string> => {
  const script = scripts
    .filter(({ document }) => document === path)
    .map(({ text }) => text)
    .join('\n')
    .replace(/^git clone .*\nnpm install && npm start\n/m, '')
    .replaceAll('http://127.0.0.1:5000', server.httpUrl)
    .replaceAll('-p 1883', `-p ${new URL(server.mqttUrl).port}`)
    .replaceAll('npm run simulate --', `npm run simulate -- --url ${server.httpUrl} --duration 2`)
  expect(script).not.toMatch(/localhost|git clone/)
  // A refusal ends the script, as it would stop the reader.
  const shell = `curl() { command curl --fail-with-body "$@"; }\n${script}`
  const noSettings = Object.fromEntries(settingNames.map((name) => [name, '']))
  // A reader has these from getting started.
  const ADMIN_TOKEN = readFileSync(join(folder.path, '.iotflow/admin-token'), 'utf8').trim()
  const { id, key: API_KEY } = await server.register()
  // The fleet of the documents is pumps in one hall.
  await server.request('PUT', `/api/v1/admin/devices/${id}`, {
    headers: { Authorization: `Bearer ${ADMIN_TOKEN}` },
    body: { device_type: 'pump', location: 'Hall 1' },
  })
  const { code, out, err } = await runProgram('bash', ['-e', '-o', 'pipefail', '-c', shell], {
    cwd: folder.path,
    env: { ...noSettings, ADMIN_TOKEN, API_KEY, ID: `${id}` },
  })
  expect(code, `${out}${err}`).toBe(0)
  return out
}

it('getting started: the commands work and answer as described', async () => {
  const out = await walk('docs/getting-started.md')
  const answers = out
    .slice(0, out.indexOf('\n>'))
    .split(/(?<=\})\s*(?=\{)/)
    .map((text) => JSON.parse(text) as Record<string, unknown>)
  expect(answers).toMatchObject([
    { message: 'Device registered successfully', device: { name: 'greenhouse-1', status: 'active' } },
    { message: 'Telemetry stored successfully', accepted: 1, rejected: [] },
    { latest_data: { temperature: 24.1, humidity: 65.2, 'soil.moisture': 0.31 } },
    { count: 2, data: [{ temperature: 24.1 }, { temperature: 23.5, metadata: { sensor_status: 'active' } }] },
    { aggregation: 'mean', field: 'temperature' },
  ])
  const { data } = answers[4] as { data: { value: number }[] }
  // The two readings may belong to different hours.
  expect(data.reduce((sum, { value }) => sum + value, 0) / data.length).toBeCloseTo(23.8, 9)
  expect(out).toMatch(/\bmissing\b/)
})

it.each(walked.slice(1))('%s: the commands work', async (path) => {
  expect(await walk(path)).not.toBe('')
})

describe('the commands of the documents', () => {
  const others = scripts
    .filter(({ document }) => !walked.includes(document))
    .flatMap(({ document, text }) => commandsOf(text).map((command) => ({ document, command })))

  it('are run by a test, all of them', () => {
    expect(others.length).toBeGreaterThan(50)
    const idle = others.filter(
      ({ command }) => !runElsewhere.some(({ command: pattern }) => pattern.test(command)),
    )
    expect(idle).toEqual([])
    expect(runElsewhere.filter(({ by }) => !existsSync(join(rootFolder, by)))).toEqual([])
  })

  it('are scripts of the package, where npm runs them', () => {
    const { scripts: known } = JSON.parse(readFileSync(join(rootFolder, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    const named = documents.flatMap(({ path, text }) =>
      [...text.matchAll(/\bnpm run (?:--silent )?([\w:-]+)/g)].map(([, script = '']) => ({ path, script })),
    )
    expect(named.length).toBeGreaterThan(50)
    expect(named.filter(({ script }) => known[script.replace(/[-:]+$/, '')] === undefined)).toEqual([])
  })

  it('are commands of iotflow, where they name one', () => {
    const program = iotflowProgram()
    const known = new Set(
      program.commands.flatMap((command) => [
        command.name(),
        ...command.commands.map((one) => `${command.name()} ${one.name()}`),
      ]),
    )
    const groups = new Set(
      program.commands.filter(({ commands }) => commands.length > 0).map((one) => one.name()),
    )
    const named = documents.flatMap(({ path, text }) =>
      [
        ...text.matchAll(/(?:`iotflow|^iotflow|npx iotflow|npm run manage --) ([a-z-]+)(?: ([a-z-]+))?/gm),
      ].map(([, one = '', two]) => ({ path, command: groups.has(one) ? `${one} ${two}` : one })),
    )
    expect(named.length).toBeGreaterThan(40)
    const unknown = named.filter(({ command }) => !command.startsWith('-') && !known.has(command))
    expect(unknown).toEqual([])
  })
})

it('every document that is walked has commands', () => {
  for (const path of walked) expect(textOf(path)).toContain('```sh\n')
})
