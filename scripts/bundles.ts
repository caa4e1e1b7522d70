/** How a function becomes a bundle: its entry, and what the bundles of the cloud and of this machine have in common. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { BuildOptions, Plugin } from 'esbuild'
import { root } from '../lib/root.ts'
import type { FunctionTable } from '../local/function-table.ts'

export const rootFolder = fileURLToPath(root)
const run = promisify(execFile)

/** Loads the secrets of a deployed function into the environment before the first call. */
const withSecrets = `
import { loadSecrets } from './lib/lambda/secrets.ts'
await loadSecrets(process.env)
`

/** What is before the app of a function in the bundle of all of them: most calls there end with 404, for which no secret is read. */
const secretsWhenNeeded = `
import { loadSecrets } from './lib/lambda/secrets.ts'
let reading
const prepare = () => (reading ??= loadSecrets(process.env).catch((error) => {
  reading = undefined
  throw error
}))
`

const nothingToPrepare = `const prepare = () => undefined\n`

/**
 * The gateways send what fits no route to one function: also a path with a slash at its end, and HEAD. That function gets the
 * apps of all others, each loaded when a request needs it.
 */
const routesOf = (functions: FunctionTable) =>
  `[${functions.routes
    .map(
      ({ method, path, functionName }) =>
        `{ method: '${method}', path: '${path}', app: async () => { await prepare(); return (await import('./${functions.file(functionName)}')).handler.app() } }`,
    )
    .join(',\n')}]`

/**
 * The functions that count something for CloudWatch: only their bundles hold what does so. The one of unknown routes gets requests
 * of the others, and counts for them.
 */
export const countingFunctions: ReadonlySet<string> = new Set([
  'telemetry-ingest',
  'telemetry-submit',
  'admin-replay-dead-letter',
  'commands-create',
  'commands-answer',
  'commands-record-answer',
  'commands-fleet-send',
  'commands-fleet-send-by-type',
  'commands-fleet-advance',
  'mqtt-authorize',
  'webhooks-deliver',
  'webhooks-sweep',
  'system-not-found',
])

const withCounts = `
import { countInCloudWatch } from './lib/lambda/metrics.ts'
import { CountedReadings } from './lib/telemetry/intake/counted-readings.ts'
const count = countInCloudWatch(process.env.STAGE)
`

/** @param deployed the bundle runs in Lambda: it reads secrets, and counts for CloudWatch. */
const entryOf = (functions: FunctionTable, name: string, deployed: boolean) => {
  const counts = deployed && countingFunctions.has(name)
  const overrides = [
    ...(name === functions.fallback ? [`routes: ${routesOf(functions)}`] : []),
    ...(counts ? ['count, batchObservers: [new CountedReadings(count)]'] : []),
  ]
  const secrets = deployed ? secretsWhenNeeded : nothingToPrepare
  return [
    name === functions.fallback ? secrets : deployed ? withSecrets : '',
    counts ? withCounts : '',
    overrides.length > 0
      ? `import { configure } from './lib/runtime-base.ts'\nconfigure({ ${overrides.join(', ')} })\n`
      : '',
    `export { handler } from './${functions.file(name)}'\n`,
  ].join('')
}

/** Resolves `function:<name>` to a generated entry. */
export const functionEntries = (functions: FunctionTable, deployed: boolean): Plugin => ({
  name: 'function-entries',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^function:/ }, ({ path }) => ({
      path: path.slice('function:'.length),
      namespace: 'function',
    }))
    onLoad({ filter: /.*/, namespace: 'function' }, ({ path }) => ({
      contents: entryOf(functions, path, deployed),
      loader: 'ts',
      resolveDir: rootFolder,
    }))
  },
})

export const entryPoints = (functions: FunctionTable) =>
  functions.names.map((name) => ({ in: `function:${name}`, out: name }))

/** What both builds have. */
export const shared = {
  absWorkingDir: rootFolder,
  bundle: true,
  platform: 'node',
  format: 'esm',
  outExtension: { '.js': '.mjs' },
  mainFields: ['module', 'main'],
  sourcemap: 'linked',
  sourcesContent: false,
  logLevel: 'warning',
  // Some dependencies are CommonJS and load modules of Node with require().
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);",
  },
} satisfies BuildOptions

/**
 * The OpenAPI document as JSON, from a process of its own: it loads the functions, which a build does not, so that
 * `npm run dev` also starts with a function that cannot be built.
 */
export const openApiText = async (): Promise<string> => {
  const program = ['scripts/run.mjs', 'scripts/openapi-document.ts']
  const { stdout } = await run(process.execPath, program, { cwd: rootFolder, maxBuffer: 16_000_000 })
  return JSON.stringify(JSON.parse(stdout))
}

/** Both folders are two levels below the root. */
export const definitions = (openApi: string) => ({
  pathFromBundleToRoot: '"../../"',
  bundledOpenApi: openApi,
})
