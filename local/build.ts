/**
 * The two builds of every function: `dist/cloud` is what deploys, with libSQL over HTTP and nothing native; `dist/local` is
 * what serverless-offline loads, with the native libSQL client left outside.
 */
import { watch } from 'node:fs'
import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { type BuildOptions, build, context, type Plugin } from 'esbuild'
import { type FunctionTable, loadFunctions } from './functions.ts'

const root = fileURLToPath(new URL('../', import.meta.url))

/** Secrets come into the environment before the first call; importing the function itself has no effect. */
const cloudEntry = (file: string) => `
import { loadSecrets } from './lib/secrets.ts'
await loadSecrets(process.env)
export { handler } from './${file}'
`

/** Makes the cloud's entries out of their names. */
const cloudEntries = (files: ReadonlyMap<string, string>): Plugin => ({
  name: 'cloud-entries',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^cloud:/ }, ({ path }) => ({
      path: path.slice('cloud:'.length),
      namespace: 'cloud',
    }))
    onLoad({ filter: /.*/, namespace: 'cloud' }, ({ path }) => ({
      contents: cloudEntry(files.get(path) ?? ''),
      loader: 'ts',
      resolveDir: root,
    }))
  },
})

const shared = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  format: 'esm',
  outExtension: { '.js': '.mjs' },
  mainFields: ['module', 'main'],
  sourcemap: 'linked',
  sourcesContent: false,
  logLevel: 'warning',
  // Some dependencies are CommonJS inside and ask for Node's own modules by require().
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);",
  },
} satisfies BuildOptions

const defined = ({ routes }: FunctionTable) => ({
  bundledRoutes: JSON.stringify(routes.map(({ method, path }) => ({ method, path }))),
})

const filesOf = (functions: FunctionTable) =>
  new Map(functions.names.map((name) => [name, functions.file(name)]))

const cloudOptions = (functions: FunctionTable): BuildOptions => {
  const files = filesOf(functions)
  return {
    ...shared,
    define: defined(functions),
    entryPoints: functions.names.map((name) => ({ in: `cloud:${name}`, out: name })),
    outdir: 'dist/cloud',
    target: 'node22',
    minify: true,
    metafile: true,
    alias: { '@libsql/client': '@libsql/client/http', '@redis/client': './lib/http/no-redis.ts' },
    plugins: [cloudEntries(files)],
  }
}

const localOptions = (functions: FunctionTable): BuildOptions => ({
  ...shared,
  define: defined(functions),
  entryPoints: [
    ...[...filesOf(functions)].map(([name, file]) => ({ in: file, out: name })),
    { in: 'lib/telemetry/embedded-worker.ts', out: 'embedded-worker' },
  ],
  outdir: 'dist/local',
  // What functions share is built once.
  splitting: true,
  target: 'node20',
  external: ['@libsql/client', 'libsql'],
})

/** Builds `dist/cloud`. Answers the bytes of each function's bundle by its name. */
export async function buildCloud(): Promise<ReadonlyMap<string, number>> {
  const functions = await loadFunctions()
  await rm(`${root}dist/cloud`, { recursive: true, force: true })
  const { metafile } = await build(cloudOptions(functions))
  return new Map(
    Object.entries(metafile?.outputs ?? {})
      .filter(([file]) => file.endsWith('.mjs'))
      .map(([file, { bytes }]) => [file.replace(/^.*\/|\.mjs$/g, ''), bytes]),
  )
}

/** Builds `dist/local`. */
export async function buildLocal(): Promise<void> {
  await build(localOptions(await loadFunctions()))
}

/** Where a change makes another build. */
const sources = ['functions', 'lib']
/** An editor writes a file in several steps. */
const settleMs = 30

/**
 * Builds `dist/local` now and after every change of a source. (esbuild's own watching looks at the files in turns, and sees
 * a change up to 2 s late.)
 * @param built called after each build that had no fault; faults are shown.
 */
export async function watchLocal(built: () => void): Promise<() => Promise<void>> {
  const builder = await context(localOptions(await loadFunctions()))
  let building: Promise<void> = Promise.resolve()
  const rebuild = () => {
    building = building.then(() => builder.rebuild()).then(built, () => undefined)
    return building
  }
  let timer: NodeJS.Timeout | undefined
  const watchers = sources.map((folder) =>
    watch(`${root}${folder}`, { recursive: true }, () => {
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

const main = async () => {
  const started = performance.now()
  const sizes = await buildCloud()
  await buildLocal()
  for (const [name, bytes] of sizes)
    process.stdout.write(`  ${name.padEnd(28)} ${String(Math.round(bytes / 1024)).padStart(6)} KB\n`)
  process.stdout.write(
    `${sizes.size} functions in dist/cloud and dist/local, ${Math.round(performance.now() - started)} ms.\n`,
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
