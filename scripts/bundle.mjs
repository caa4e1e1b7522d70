/**
 * Builds TypeScript programs of this project into dist/programs, because Node 20 cannot run TypeScript. A program is built again
 * only when the content of a file that it consists of has changed since its last build.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildDashboard } from './dashboard.mjs'

/** The folder of package.json. */
export const root = fileURLToPath(new URL('../', import.meta.url))
const folder = join(root, 'dist/programs')
/** Age from which an old build is deleted, ms. A younger one stays: another process may be loading it. */
const keepMs = 86_400_000
const keepBuilds = 3

/** The message is one sentence. */
export class BuildError extends Error {
  name = 'BuildError'
}

/** @type {import('esbuild').BuildOptions} */
const options = {
  absWorkingDir: root,
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  // Functions are imported by name at run time: each is a file that shares its modules with the others.
  splitting: true,
  target: 'node20',
  outExtension: { '.js': '.mjs' },
  sourcemap: 'linked',
  sourcesContent: false,
  // The Docker image has no tsconfig.json.
  tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
  define: { pathFromBundleToRoot: '"../../../../"' },
  metafile: true,
  logLevel: 'warning',
}

const hashOf = (content) => createHash('sha256').update(content).digest('hex')

/** The hash of a file's content; undefined when there is no such file. */
const hashOfFile = (file) => {
  try {
    return hashOf(readFileSync(join(root, file)))
  } catch {
    return undefined
  }
}

/** A hash of everything but the sources that changes a build: esbuild, its options, and the names of the functions. */
const settingsOf = (program) => {
  const esbuild = createRequire(import.meta.url).resolve('esbuild/package.json')
  const { version } = JSON.parse(readFileSync(esbuild, 'utf8'))
  const functions = existsSync(join(root, 'functions'))
    ? readdirSync(join(root, 'functions'), { recursive: true })
    : []
  return hashOf(JSON.stringify([version, options, program, functions.sort()]))
}

/**
 * The last build of a program, if no source has changed since. Files are read synchronously: there is nothing else to do, and a
 * busy machine would delay every asynchronous read.
 */
const findBuild = (place, settings) => {
  let manifest
  try {
    manifest = JSON.parse(readFileSync(join(place, 'manifest.json'), 'utf8'))
  } catch {
    return undefined
  }
  if (manifest.settings !== settings || !existsSync(join(place, manifest.build))) return undefined
  const current = Object.entries(manifest.inputs).every(([file, hash]) => hashOfFile(file) === hash)
  return current ? join(place, manifest.build) : undefined
}

/** Removes earlier builds, but none that another process may be about to load. */
const removeOld = (place, current) => {
  // Undefined when another process has removed it meanwhile.
  const timeOf = (name) => statSync(join(place, name), { throwIfNoEntry: false })?.mtimeMs ?? Date.now()
  const older = readdirSync(place)
    .filter((name) => name.startsWith('build-') && name !== current)
    .map((name) => ({ name, time: timeOf(name) }))
    .sort((one, other) => other.time - one.time)
  // A server that runs for days starts threads from its build: the newest builds stay, however old they are.
  for (const { name, time } of older.slice(keepBuilds))
    if (Date.now() - time > keepMs) rmSync(join(place, name), { recursive: true, force: true })
}

/** Builds into a folder of its own, which the manifest names when it is complete: two processes may build at once. */
const build = async (program, place, settings) => {
  const startedAt = Date.now()
  mkdirSync(place, { recursive: true })
  const outdir = mkdtempSync(join(place, 'build-'))
  try {
    const { build: run, stop } = await import('esbuild')
    const { metafile } = await run({
      ...options,
      outdir,
      entryPoints: [
        { in: program, out: 'program' },
        { in: 'lib/telemetry/embedded/worker.ts', out: 'embedded-worker' },
      ],
    })
    // A container may run it as another user than the one who built it.
    chmodSync(outdir, 0o755)
    // esbuild works in a child process, which would live as long as the program.
    await stop()
    const inputs = {}
    for (const file of Object.keys(metafile.inputs)) {
      const hash = hashOfFile(file)
      if (hash === undefined) continue
      const { mtimeMs } = statSync(join(root, file))
      // esbuild may have read other content of a file that changed during the build: the next start builds again.
      inputs[file] = mtimeMs < startedAt ? hash : ''
    }
    const name = basename(outdir)
    writeFileSync(join(outdir, 'manifest.json'), JSON.stringify({ settings, build: name, inputs }))
    renameSync(join(outdir, 'manifest.json'), join(place, 'manifest.json'))
    removeOld(place, name)
    return outdir
  } catch (error) {
    rmSync(outdir, { recursive: true, force: true })
    throw error
  }
}

/**
 * @param path of a program, relative to the root: `local/start.ts`.
 * @returns the folder of its build: `program.mjs` is the program, `embedded-worker.mjs` the thread of the embedded store.
 * @throws {BuildError} when a source has a fault, which esbuild has printed, or when dist/ cannot be written.
 */
export async function bundle(path) {
  const program = relative(root, resolve(root, path))
  const place = join(folder, program.replace(/\.ts$/, '').replaceAll(/[\\/]/g, '-'))
  const settings = settingsOf(program)
  try {
    // Before the look for a build: a program that serves the page consists of its file too.
    if (await buildDashboard()) await (await import('esbuild')).stop()
    const found = findBuild(place, settings)
    if (found !== undefined) return found
    return await build(program, place, settings)
  } catch (error) {
    if (Array.isArray(error.errors)) throw new BuildError(`${program} cannot be built.`)
    if (!['EROFS', 'EACCES', 'EPERM', 'ENOSPC'].includes(error.code)) throw error
    throw new BuildError(
      `${program} must be built, but ${place} cannot be written (${error.code}): run node scripts/run.mjs --build ${program} as a user who can write there.`,
    )
  }
}
