import { type ChildProcess, spawn } from 'node:child_process'
import { cp, mkdir, readdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { root } from '../../lib/root.ts'
import { temporaryFolder } from '../support/temporary.ts'

const project = fileURLToPath(root)
const program = 'local/program.ts'
const programFolder = 'dist/programs/local-program'

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

let tree: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  tree = await temporaryFolder()
  for (const part of ['lib', 'scripts', 'package.json'])
    await cp(`${project}${part}`, `${tree.path}/${part}`, { recursive: true })
  await mkdir(`${tree.path}/local`)
  await symlink(`${project}node_modules`, `${tree.path}/node_modules`)
  await writeSource('first')
})
afterEach(() => tree.remove())

const writeSource = async (word: string) => {
  await writeFile(`${tree.path}/local/word.ts`, `export const word: string = '${word}'\n`)
  await writeFile(
    `${tree.path}/${program}`,
    `import { word } from './word.ts'
export const main = () => {
  process.stdout.write(JSON.stringify({ word, arguments: process.argv.slice(1), pid: process.pid }))
}
`,
  )
}

const start = (command: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } => {
  const [file = '', ...args] = command
  const child = spawn(file, args, { cwd: tree.path, stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  child.stderr.on('data', (chunk) => {
    err += chunk
  })
  const ended = new Promise<Ended>((resolve) => child.once('close', (code) => resolve({ code, out, err })))
  return { child, ended }
}

const launcher = [process.execPath, 'scripts/run.mjs']
const run = (...args: string[]) => start([...launcher, ...args]).ended
const wordOf = ({ out, err }: Ended) => {
  expect(err).toBe('')
  return (JSON.parse(out) as { word: string }).word
}
const builds = async () =>
  (await readdir(`${tree.path}/${programFolder}`)).filter((name) => name !== 'manifest.json')

it('runs a program in its own process, with the arguments of the program', async () => {
  const { child, ended } = start([...launcher, program, '--flag', 'value'])
  expect(JSON.parse((await ended).out)).toEqual({
    word: 'first',
    arguments: [`${tree.path}/${program}`, '--flag', 'value'],
    pid: child.pid,
  })
})

it('builds again when the content of a file has changed, and only then', async () => {
  await run(program)
  const [first] = await builds()
  await utimes(`${tree.path}/local/word.ts`, new Date(), new Date())
  expect(wordOf(await run(program))).toBe('first')
  expect(await builds()).toEqual([first])
  await writeSource('second')
  expect(wordOf(await run(program))).toBe('second')
  expect(await builds()).toHaveLength(2)
})

it('builds in two processes at once', async () => {
  const both = await Promise.all([run(program), run(program)])
  expect(both.map(wordOf)).toEqual(['first', 'first'])
  expect(wordOf(await run(program))).toBe('first')
})

it('prints what is wrong with a source, and keeps the last build', async () => {
  await run(program)
  const before = await builds()
  await writeFile(`${tree.path}/local/word.ts`, 'export const = broken')
  const { code, err } = await run(program)
  expect(code).toBe(1)
  expect(err).toMatch(/local\/word\.ts:1:13/)
  expect(err).toMatch(/^local\/program\.ts cannot be built\.$/m)
  expect(await builds()).toEqual(before)
})

it('runs what is built where nothing can be written, and says so when a source has changed', async () => {
  expect(await run('--build', program)).toEqual({ code: 0, out: '', err: '' })
  const readOnly = start(['chmod', '-R', 'a-w', '.'])
  await readOnly.ended
  // Root may write everywhere until it gives up that right.
  const prefix = process.getuid?.() === 0 ? ['setpriv', '--bounding-set', '-dac_override'] : []
  try {
    expect(wordOf(await start([...prefix, ...launcher, program]).ended)).toBe('first')
    await start(['chmod', 'u+w', 'local/word.ts']).ended
    await writeFile(`${tree.path}/local/word.ts`, "export const word = 'second'\n")
    expect(await start([...prefix, ...launcher, program]).ended).toEqual({
      code: 1,
      out: '',
      err: `local/program.ts must be built, but ${tree.path}/${programFolder} cannot be written (EACCES): run node scripts/run.mjs --build local/program.ts as a user who can write there.\n`,
    })
  } finally {
    await start(['chmod', '-R', 'u+w', '.']).ended
  }
})

it('names files and lines of TypeScript in a stack and in the log', async () => {
  await writeFile(
    `${tree.path}/${program}`,
    `import { createLog } from '../lib/log.ts'

interface Nothing {}
export const main = (): Nothing => {
  const error: Error = new Error('thrown')
  const log = createLog('info')
  log.info('failed', { error })
  log.flush()
  throw error
}
`,
  )
  const { code, err } = await run(program)
  expect(code).toBe(1)
  expect(err).toContain('"at":"local/program.ts:5"')
  expect(err).toContain(`at main (${tree.path}/${program}:5:24)`)
  const built = await readFile(`${tree.path}/${programFolder}/${(await builds())[0]}/program.mjs`, 'utf8')
  expect(built.split('\n')[4]).not.toContain('new Error')
})
