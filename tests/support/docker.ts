/**
 * Runs `npm run stack` in a copy of the project with a replacement for the program `docker`, because tests have no Docker engine. The
 * replacement records its calls and answers as Docker does.
 */
import { spawn } from 'node:child_process'
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { settingNames } from '../../lib/config.ts'
import { temporaryFolder } from './temporary.ts'

/** The behaviour of Docker. Default: it is installed, and all containers become healthy. */
export interface DockerState {
  /** False: the program is not installed. */
  readonly installed?: boolean
  readonly plugin?: boolean
  /** The message of an engine that is not running. */
  readonly refuses?: string
  /** Exit code of `docker compose up` and similar commands. */
  readonly code?: number
  /** The output of `docker compose ps`. */
  readonly services?: readonly { Service: string; State: string; Health?: string }[]
  readonly volumes?: readonly string[]
}

export interface Call {
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
  /** The calls of Docker, in order. */
  readonly calls: readonly Call[]
}

export interface StackTree {
  readonly path: string
  /** Runs `npm run stack -- …`. */
  stack(args: readonly string[], docker?: DockerState, settings?: Record<string, string>): Promise<Ended>
  remove(): Promise<void>
}

const root = fileURLToPath(new URL('../../', import.meta.url))

const program = `#!${process.execPath}
const { appendFileSync, readFileSync } = require('node:fs')
const state = JSON.parse(readFileSync(__dirname + '/state.json', 'utf8'))
const args = process.argv.slice(2)
appendFileSync(__dirname + '/calls', JSON.stringify({ args, env: process.env }) + '\\n')
const is = (...words) => words.every((word) => args.includes(word))
const end = (code, out = '', err = '') => {
  process.stdout.write(out)
  process.stderr.write(err)
  process.exitCode = code
}
if (args[0] === 'compose' && state.plugin === false) end(1, '', "docker: unknown command: docker compose\\n")
else if (is('compose', 'version')) end(0, 'Docker Compose version v2.36.0\\n')
else if (state.refuses !== undefined) end(1, '', state.refuses + '\\n')
else if (is('version')) end(0, '28.2.2\\n')
else if (is('volume', 'ls')) end(0, (state.volumes ?? []).map((name) => name + '\\n').join(''))
else if (is('ps')) end(0, (state.services ?? []).map((one) => JSON.stringify(one) + '\\n').join(''))
else end(state.code ?? 0)
`

export const healthy = (...names: string[]) =>
  names.map((Service) => ({ Service, State: 'running', Health: 'healthy' }))

export async function stackTree(): Promise<StackTree> {
  const folder = await temporaryFolder()
  for (const part of ['lib', 'local', 'scripts', 'package.json'])
    await cp(join(root, part), join(folder.path, part), { recursive: true })
  await symlink(join(root, 'node_modules'), join(folder.path, 'node_modules'))
  const bin = join(folder.path, 'bin')
  await mkdir(bin)
  await writeFile(join(bin, 'package.json'), '{"type":"commonjs"}')
  const calls = join(bin, 'calls')
  return {
    path: folder.path,
    async stack(args, docker = {}, settings = {}) {
      await writeFile(calls, '')
      await writeFile(join(bin, 'state.json'), JSON.stringify(docker))
      if (docker.installed !== false) await writeFile(join(bin, 'docker'), program, { mode: 0o755 })
      const child = spawn(process.execPath, ['scripts/run.mjs', 'local/stack/stack.ts', ...args], {
        cwd: folder.path,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          PATH: docker.installed === false ? join(folder.path, 'nothing') : bin,
          HOME: folder.path,
          ...Object.fromEntries(settingNames.map((name) => [name, ''])),
          ...settings,
        },
      })
      let [out, err] = ['', '']
      child.stdout.on('data', (chunk) => {
        out += chunk
      })
      child.stderr.on('data', (chunk) => {
        err += chunk
      })
      const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
      const lines = (await readFile(calls, 'utf8')).split('\n').filter((line) => line !== '')
      return { code, out, err, calls: lines.map((line) => JSON.parse(line) as Call) }
    },
    remove: folder.remove,
  }
}
