/** Runs the command `iotflow` as a person would: in a process of its own, and on request at a terminal. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { settingNames } from '../../lib/config.ts'
import { root } from '../../lib/root.ts'

const rootFolder = fileURLToPath(root)

export interface Ended {
  /** Null for a process that was killed. */
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export interface RunOptions {
  readonly dataDir: string
  /** Settings of the environment beside the data directory. */
  readonly settings?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Is called with all of standard output so far, whenever more has come. */
  readonly onOut?: (out: string) => unknown
}

/** Empty settings have priority over the `.env` of a developer. */
const noSettings = Object.fromEntries(settingNames.map((name) => [name, '']))

const environment = ({ dataDir, settings }: RunOptions) => ({
  PATH: process.env.PATH,
  HOME: process.env.HOME,
  ...noSettings,
  DATA_DIR: dataDir,
  ...settings,
})

const collect = (child: ChildProcess, { onOut }: RunOptions): Promise<Ended> => {
  let [out, err] = ['', '']
  child.stdout?.on('data', (chunk) => {
    out += chunk
    onOut?.(out)
  })
  child.stderr?.on('data', (chunk) => {
    err += chunk
  })
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })))
}

/** Starts the command. */
export function startIotflow(
  args: readonly string[],
  options: RunOptions,
): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [`${rootFolder}cli/bin.mjs`, ...args], {
    cwd: options.cwd ?? rootFolder,
    env: environment(options),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return { child, ended: collect(child, options) }
}

export const runIotflow = (args: readonly string[], options: RunOptions): Promise<Ended> =>
  startIotflow(args, options).ended

/** Runs a line in a shell of the project's folder. */
export function runLine(line: string, options: RunOptions): Promise<Ended> {
  const child = spawn('sh', ['-c', line], {
    cwd: options.cwd ?? rootFolder,
    env: environment(options),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return collect(child, options)
}

/** Reads what the terminal shows, and types each answer when its question has appeared. Exits as the command. */
const terminal = `
import os, pty, select, sys, time
answers = [pair.split('=>', 1) for pair in sys.argv[1].split('\\x1e') if pair]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown, end = b'', time.time() + 150
while time.time() < end:
    ready, _, _ = select.select([fd], [], [], 0.1)
    if ready:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    if answers and answers[0][0].encode() in shown:
        shown = shown.split(answers[0][0].encode(), 1)[1]
        os.write(fd, answers.pop(0)[1].encode())
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
`

/**
 * Runs a program of Node at a terminal.
 * @param answers what is typed when a text has appeared: `[['confirm: ', 'yes\n']]`.
 * @returns both outputs as the terminal shows them, in `out`.
 */
export function runNodeAtTerminal(
  args: readonly string[],
  answers: readonly (readonly [shown: string, typed: string])[],
  options: RunOptions,
): Promise<Ended> {
  const typed = answers.map((pair) => pair.join('=>')).join('\u001e')
  const child = spawn('python3', ['-c', terminal, typed, process.execPath, ...args], {
    cwd: options.cwd ?? rootFolder,
    env: { ...environment(options), TERM: 'xterm' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return collect(child, options)
}

/** Runs the command at a terminal; see {@link runNodeAtTerminal}. */
export const runAtTerminal = (
  args: readonly string[],
  answers: readonly (readonly [shown: string, typed: string])[],
  options: RunOptions,
): Promise<Ended> => runNodeAtTerminal([`${rootFolder}cli/bin.mjs`, ...args], answers, options)
