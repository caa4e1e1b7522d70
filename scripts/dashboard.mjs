/**
 * Builds the dashboard: esbuild makes script and style of dashboard/, each file is compressed and gets a hash of its content in its
 * name, and all become one module, dist/dashboard/files.mjs. Functions import it as `#dashboard-files`, so that every build of
 * them carries the page within.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, gzipSync } from 'node:zlib'

const root = fileURLToPath(new URL('../', import.meta.url))
const folder = join(root, 'dist/dashboard')
const target = join(folder, 'files.mjs')
const page = 'dashboard/index.html'
const icon = 'dashboard/icon.svg'

const contentTypes = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}
const extensionOf = (name) => name.slice(name.lastIndexOf('.'))
const hashOf = (content) => createHash('sha256').update(content).digest('hex')

/** @type {import('esbuild').BuildOptions} */
const options = {
  absWorkingDir: root,
  entryPoints: [{ in: 'dashboard/main.tsx', out: 'main' }],
  outdir: folder,
  write: false,
  metafile: true,
  bundle: true,
  splitting: true,
  minify: true,
  format: 'esm',
  platform: 'browser',
  target: ['es2022', 'chrome109', 'firefox115', 'safari16.4'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  legalComments: 'none',
  logLevel: 'warning',
}

/** Files that are no source but change the build: this one, and those that tell the versions of packages. */
const tools = () => {
  const esbuild = createRequire(import.meta.url).resolve('esbuild/package.json')
  return [fileURLToPath(import.meta.url), esbuild]
}

/** The hashes of files by their names; undefined for one that is gone. */
const hashesOf = (files) =>
  Object.fromEntries(
    files.map((file) => [
      file,
      existsSync(join(root, file)) ? hashOf(readFileSync(join(root, file))) : undefined,
    ]),
  )

/** True when every file that the last build consists of is as it was. */
const isCurrent = () => {
  let built
  try {
    const text = readFileSync(target, 'utf8')
    built = JSON.parse(text.slice('// '.length, text.indexOf('\n')))
  } catch {
    // There is none, or one of another version of this file.
    return false
  }
  const { inputs, settings } = built
  const now = hashesOf(Object.keys(inputs))
  return settings === settingsOf() && Object.entries(inputs).every(([file, hash]) => now[file] === hash)
}

const settingsOf = () =>
  hashOf(
    tools()
      .map((file) => readFileSync(file))
      .join('\n'),
  )

/** Runs esbuild. @returns its outputs by their names, and the names of its sources. */
const runEsbuild = async () => {
  const { build } = await import('esbuild')
  const { outputFiles, metafile } = await build(options)
  return {
    outputs: outputFiles.map(({ path, contents }) => ({
      name: path.slice(folder.length + 1),
      contents: Buffer.from(contents),
    })),
    inputs: Object.keys(metafile.inputs),
  }
}

const iconFile = () => {
  const contents = readFileSync(join(root, icon))
  return { name: `icon-${hashOf(contents).slice(0, 8).toUpperCase()}.svg`, contents }
}

const pageWith = (names) => {
  const nameOf = (pattern) => names.find((name) => pattern.test(name)) ?? ''
  return readFileSync(join(root, page), 'utf8')
    .replace('{{script}}', nameOf(/^main-.*\.js$/))
    .replace('{{style}}', nameOf(/^main-.*\.css$/))
    .replace('{{icon}}', nameOf(/^icon-/))
}

const compressed = ({ name, contents }) => [
  name,
  {
    contentType: contentTypes[extensionOf(name)],
    gzip: gzipSync(contents, { level: 9 }).toString('base64'),
    brotli: brotliCompressSync(contents).toString('base64'),
  },
]

/** The module; its first line says what it was made from. */
const makeModule = async () => {
  const { outputs, inputs } = await runEsbuild()
  const files = [...outputs, iconFile()]
  const state = { settings: settingsOf(), inputs: hashesOf([...inputs, page, icon]) }
  return `// ${JSON.stringify(state)}
export const dashboardPage = ${JSON.stringify(pageWith(files.map(({ name }) => name)))}
export const dashboardAssets = ${JSON.stringify(Object.fromEntries(files.map(compressed)))}
`
}

/**
 * Builds the dashboard unless the last build is of the same sources. Where there is no dashboard/, it does nothing.
 * @returns whether it has built: then the process of esbuild runs, which lives until somebody calls its `stop`.
 * @throws {Error} of esbuild, which has printed it, or when dist/ cannot be written.
 */
export async function buildDashboard() {
  if (!existsSync(join(root, page)) || isCurrent()) return false
  const text = await makeModule()
  mkdirSync(folder, { recursive: true })
  // Two processes may build at once: each puts its complete file into place.
  const own = join(folder, `files-${process.pid}.mjs`)
  writeFileSync(own, text)
  renameSync(own, target)
  return true
}
