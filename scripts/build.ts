/**
 * The build of `dist/cloud`, which is deployed: it speaks libSQL over HTTP and holds nothing native. As a program it makes the
 * build of `dist/local`, too.
 */
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { type BuildOptions, build, type Metafile, type OutputFile } from 'esbuild'
import type { Access } from '../lib/http/route.ts'
import { type FunctionTable, loadFunctionTable } from '../local/function-table.ts'
import { type Functions, loadFunctions } from '../local/functions.ts'
import { buildLocal } from './build-local.ts'
import { definitions, entryPoints, functionEntries, openApiText, rootFolder, shared } from './bundles.ts'
import { asksForHelp, parseOptions, runCommand } from './command.ts'
import { buildDashboard } from './dashboard.mjs'
import { withoutUnusedModules } from './unused-modules.ts'

/** How esbuild makes the bundles. @param openApi the text of the document, or `undefined`. */
export const cloudOptions = (functions: FunctionTable, openApi: string) =>
  ({
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
      // Of this build, esbuild can leave out what is not used.
      '@upstash/ratelimit': './node_modules/@upstash/ratelimit/dist/index.mjs',
      '@upstash/core-analytics': './lib/http/limit/no-analytics.ts',
      'js-base64': './lib/libsql/base64.ts',
      'lru-cache': './lib/lambda/lru-cache.ts',
      '@aws-sdk/credential-provider-node': './lib/lambda/no-credential-search.ts',
    },
    plugins: [functionEntries(functions, true), withoutUnusedModules],
  }) satisfies BuildOptions

/** What is in a bundle of `dist/cloud`. */
export interface BundleContents {
  /** Of the code that a cold start loads. */
  readonly bytes: number
  /** Names in `dist/cloud`: one, but for the function that loads the apps of others when a request needs them. */
  readonly files: readonly string[]
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

type Outputs = Metafile['outputs']

/** A file with those that its import loads, too. */
const withImports = (outputs: Outputs, file: string): string[] => {
  const found = new Set([file])
  for (const one of found)
    for (const { path, kind } of outputs[one]?.imports ?? [])
      if (kind === 'import-statement' && path in outputs) found.add(path)
  return [...found]
}

const contentsOf = async (functions: Functions, name: string, outputs: Outputs): Promise<BundleContents> => {
  const bundle = `dist/cloud/${name}.mjs`
  const isApart = name === functions.fallback
  const files = isApart ? Object.keys(outputs).filter((file) => file.endsWith('.mjs')) : [bundle]
  const used = files
    .flatMap((file) => Object.entries(outputs[file]?.inputs ?? {}))
    .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
  return {
    bytes: withImports(outputs, bundle).reduce((sum, file) => sum + (outputs[file]?.bytes ?? 0), 0),
    files: files.map((file) => basename(file)).sort(),
    modules: [...new Set(used.map(([input]) => moduleOf(input)))].sort(),
    checks: await checksOf(functions, name),
  }
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
  const options = { ...cloudOptions(functions, await openApiText()), metafile: true, write: false } as const
  const { fallback } = functions
  const of = (wanted: (name: string) => boolean) => options.entryPoints.filter(({ out }) => wanted(out))
  const [single, apart] = await Promise.all([
    build({ ...options, entryPoints: of((name) => name !== fallback) }),
    // It holds the app of every other function: only what a request needs is loaded.
    build({
      ...options,
      entryPoints: of((name) => name === fallback),
      splitting: true,
      chunkNames: `${fallback}-[hash]`,
    }),
  ])
  const contents = Object.fromEntries(
    await Promise.all(
      functions.names.map(async (name) => {
        const { outputs } = (name === fallback ? apart : single).metafile
        return [name, await contentsOf(functions, name, outputs)] as const
      }),
    ),
  )
  const description = { path: contentsFile, contents: Buffer.from(JSON.stringify(contents)) }
  await replaceFiles(dirname(contentsFile), [...single.outputFiles, ...apart.outputFiles, description])
  return contents
}

/** Builds the bundle of one function, as it is deployed, into another folder. It has no OpenAPI document. */
export async function buildCloudFunction(name: string, outdir: string): Promise<void> {
  const options = cloudOptions(await loadFunctionTable(), 'undefined')
  await build({ ...options, entryPoints: [{ in: `function:${name}`, out: name }], outdir })
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
