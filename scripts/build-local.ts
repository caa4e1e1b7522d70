/**
 * The build of `dist/local`, which serverless-offline loads: it imports the native libSQL client from node_modules. It loads no
 * function itself, so that `npm run dev` also starts with one that cannot be built.
 */
import { watch } from 'node:fs'
import { type BuildOptions, build, context } from 'esbuild'
import { type FunctionTable, loadFunctionTable } from '../local/function-table.ts'
import { definitions, entryPoints, functionEntries, openApiText, rootFolder, shared } from './bundles.ts'
import { buildDashboard } from './dashboard.mjs'

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
