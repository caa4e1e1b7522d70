/**
 * The two builds of every function. `dist/cloud` is deployed: it speaks libSQL over HTTP and holds nothing native. `dist/local` is
 * loaded by serverless-offline: it imports the native libSQL client from node_modules.
 */
import { execFile } from 'node:child_process'
import { watch } from 'node:fs'
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type BuildOptions, build, context, type Metafile, type OutputFile, type Plugin } from 'esbuild'
import type { Access } from '../lib/http/route.ts'
import { root } from '../lib/root.ts'
import { type FunctionTable, loadFunctionTable } from '../local/function-table.ts'
import { type Functions, loadFunctions } from '../local/functions.ts'
import { asksForHelp, parseOptions, runCommand } from './command.ts'
import { buildDashboard } from './dashboard.mjs'

const rootFolder = fileURLToPath(root)
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
 * The functions that count something for CloudWatch. Only their bundles hold the library that writes metrics: 33 KB. The one of
 * unknown routes gets requests of the others, and counts for them.
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
      ? `import { configure } from './lib/runtime.ts'\nconfigure({ ${overrides.join(', ')} })\n`
      : '',
    `export { handler } from './${functions.file(name)}'\n`,
  ].join('')
}

/** Resolves `function:<name>` to a generated entry. */
const functionEntries = (functions: FunctionTable, deployed: boolean): Plugin => ({
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

const entryPoints = (functions: FunctionTable) =>
  functions.names.map((name) => ({ in: `function:${name}`, out: name }))

const shared = {
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
const openApiText = async (): Promise<string> => {
  const program = ['scripts/run.mjs', 'scripts/openapi-document.ts']
  const { stdout } = await run(process.execPath, program, { cwd: rootFolder, maxBuffer: 16_000_000 })
  return JSON.stringify(JSON.parse(stdout))
}

/** Both folders are two levels below the root. */
const definitions = (openApi: string) => ({
  pathFromBundleToRoot: '"../../"',
  bundledOpenApi: openApi,
})

const cloudOptions = (functions: FunctionTable, openApi: string): BuildOptions => ({
  ...shared,
  define: { ...definitions(openApi), isCloudBundle: 'true' },
  entryPoints: entryPoints(functions),
  outdir: 'dist/cloud',
  target: 'node22',
  minify: true,
  alias: {
    '@libsql/client': '@libsql/client/http',
    // Its build for Node brings 48 KB of WebSocket along, which a client over HTTP never opens.
    '@libsql/isomorphic-ws': './node_modules/@libsql/isomorphic-ws/web.mjs',
    '@redis/client': './lib/http/limit/no-redis.ts',
  },
  plugins: [functionEntries(functions, true)],
})

const localOptions = async (functions: FunctionTable): Promise<BuildOptions> => ({
  ...shared,
  // Without a document the other functions still run: esbuild prints the error of a source.
  define: definitions(await openApiText().catch(() => 'undefined')),
  entryPoints: [
    ...entryPoints(functions),
    { in: 'lib/telemetry/embedded/worker.ts', out: 'embedded-worker' },
  ],
  outdir: 'dist/local',
  // Modules that several functions share become files of their own.
  splitting: true,
  target: 'node20',
  external: ['@libsql/client', 'libsql'],
  plugins: [functionEntries(functions, false)],
})

/** What is in a bundle of `dist/cloud`. */
export interface BundleContents {
  readonly bytes: number
  /** Modules of which something is in the bundle: paths from the root, and the names of packages. */
  readonly modules: readonly string[]
  /** Whose credentials the function checks, by its routes; empty for a function of events. */
  readonly checks: readonly Exclude<Access, 'none'>[]
}

export type CloudContents = Readonly<Record<string, BundleContents>>

/** The file of {@link CloudContents}. */
export const contentsFile = `${rootFolder}dist/cloud/contents.json`

/** `@libsql/core` of `node_modules/@libsql/core/lib/api.js`; a path of ours stays. */
const moduleOf = (input: string) => /^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1] ?? input

const checksOf = async (functions: Functions, name: string): Promise<BundleContents['checks']> => {
  // It holds the app of every other function.
  const names = name === functions.fallback ? functions.names : [name]
  const routes = await Promise.all(names.map(async (one) => (await functions.module(one)).route))
  const found = routes.flatMap((route): (Access | undefined)[] => [route?.access, route?.optional])
  return [...new Set(found.filter((one) => one !== undefined && one !== 'none'))].sort()
}

const contentsOf = async (functions: Functions, { outputs }: Metafile): Promise<CloudContents> => {
  const bundles = Object.entries(outputs).filter(([file]) => file.endsWith('.mjs'))
  const found = await Promise.all(
    bundles.map(async ([file, { bytes, inputs }]) => {
      const name = basename(file, '.mjs')
      const used = Object.entries(inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      const modules = [...new Set(used.map(([input]) => moduleOf(input)))].sort()
      return [name, { bytes, modules, checks: await checksOf(functions, name) }] as const
    }),
  )
  return Object.fromEntries(found)
}

/** Writes each file in one step and removes what is no longer built: other programs may read the folder meanwhile. */
const replaceFiles = async (folder: string, files: readonly Pick<OutputFile, 'path' | 'contents'>[]) => {
  await mkdir(folder, { recursive: true })
  for (const { path, contents } of files) {
    await writeFile(`${path}.${process.pid}`, contents)
    await rename(`${path}.${process.pid}`, path)
  }
  const built = new Set(files.map(({ path }) => basename(path)))
  const stale = (await readdir(folder)).filter((name) => /\.mjs(?:\.map)?$/.test(name) && !built.has(name))
  for (const name of stale) await rm(`${folder}/${name}`, { force: true })
}

/** Builds `dist/cloud`, with a file that tells what is in each bundle. @returns its contents. */
export async function buildCloud(): Promise<CloudContents> {
  const functions = await loadFunctions()
  await buildDashboard()
  const { metafile, outputFiles } = await build({
    ...cloudOptions(functions, await openApiText()),
    metafile: true,
    write: false,
  })
  const contents = await contentsOf(functions, metafile)
  const description = { path: contentsFile, contents: Buffer.from(JSON.stringify(contents)) }
  await replaceFiles(dirname(contentsFile), [...outputFiles, description])
  return contents
}

/** Builds the bundle of one function, as it is deployed, into another folder. It has no OpenAPI document. */
export async function buildCloudFunction(name: string, outdir: string): Promise<void> {
  const options = cloudOptions(await loadFunctionTable(), 'undefined')
  await build({ ...options, entryPoints: [{ in: `function:${name}`, out: name }], outdir })
}

/** Builds `dist/local`. */
export async function buildLocal(): Promise<void> {
  await buildDashboard()
  await build(await localOptions(await loadFunctionTable()))
}

/** A change in one of these folders starts another build. */
const sources = ['dashboard', 'functions', 'lib']
/** An editor writes a file in several steps: the build waits until they are over, ms. */
const settleMs = 30

/**
 * Builds `dist/local` now and after every change of a source. The watch mode of esbuild polls the files, and would see a
 * change up to 2 s late.
 * @param onBuilt called after each build without errors; esbuild prints the errors.
 * @returns a function that ends the watching.
 */
export async function watchLocal(onBuilt: () => void): Promise<() => Promise<void>> {
  const builder = await context(await localOptions(await loadFunctionTable()))
  let building: Promise<void> = Promise.resolve()
  const rebuild = () => {
    building = building
      .then(buildDashboard)
      .then(() => builder.rebuild())
      .then(onBuilt, () => undefined)
    return building
  }
  let timer: NodeJS.Timeout | undefined
  const watchers = sources.map((folder) =>
    watch(`${rootFolder}${folder}`, { recursive: true }, () => {
      clearTimeout(timer)
      timer = setTimeout(rebuild, settleMs)
    }),
  )
  await rebuild()
  return async () => {
    clearTimeout(timer)
    for (const watcher of watchers) watcher.close()
    await building
    await builder.dispose()
  }
}

const help = `Builds every function.

  npm run build              writes dist/cloud, which is deployed, and dist/local, which npm run dev serves
  npm run build -- --help    prints this help
`

export const main = () =>
  runCommand(async () => {
    if (asksForHelp(process.argv.slice(2))) {
      process.stdout.write(help)
      return 0
    }
    parseOptions({ options: {} })
    const started = performance.now()
    const contents = await buildCloud()
    await buildLocal()
    for (const [name, { bytes }] of Object.entries(contents))
      process.stdout.write(`  ${name.padEnd(28)} ${String(Math.round(bytes / 1024)).padStart(6)} KB\n`)
    process.stdout.write(
      `${Object.keys(contents).length} functions in dist/cloud and dist/local, ${Math.round(performance.now() - started)} ms.\n`,
    )
    return 0
  })
