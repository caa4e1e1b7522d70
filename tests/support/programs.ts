/** Programs of other languages that run the examples. */
import { spawn, spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'

const runs = (program: string, ...args: string[]): boolean =>
  spawnSync(program, args, { stdio: 'ignore' }).status === 0

const { PAHO_PYTHON, SCHEMATHESIS } = process.env
/** A Python that has paho-mqtt and requests: PAHO_PYTHON, the one of schemathesis, or that of the system. */
export const pahoPython = [
  PAHO_PYTHON,
  SCHEMATHESIS === undefined ? undefined : join(dirname(SCHEMATHESIS), 'python'),
  'python3',
].find((program) => program !== undefined && runs(program, '-c', 'import paho.mqtt.client, requests'))

export const hasCompiler = runs('g++', '--version')

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

interface RunOptions {
  readonly cwd: string
  /** Replaces the environment, except for PATH and HOME. */
  readonly env?: Readonly<Record<string, string>>
  /** Sees the standard output so far, whenever there is more. */
  readonly onOutput?: (out: string) => void
}

/** Runs a program until it ends. */
export function runProgram(
  program: string,
  args: readonly string[],
  { cwd, env = {}, onOutput }: RunOptions,
): Promise<Ended> {
  const { PATH, HOME } = process.env
  const child = spawn(program, args, { cwd, env: { PATH, HOME, ...env } })
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk) => {
    out += chunk
    onOutput?.(out)
  })
  child.stderr.on('data', (chunk) => {
    err += chunk
  })
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })))
}
