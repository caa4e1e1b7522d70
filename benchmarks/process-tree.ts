/** CPU time of a process with its children, from Linux' /proc. */
import { spawnSync } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { BenchError } from './measure.ts'

const ticksPerSecond = Number(spawnSync('getconf', ['CLK_TCK']).stdout?.toString() ?? '') || 100

interface Process {
  readonly parent: number
  /** CPU ticks of all its threads, and of its children that have ended. */
  readonly ticks: number
}

/** @returns undefined when the process has ended. See proc(5), `/proc/[pid]/stat`. */
const readProcess = async (pid: number): Promise<Process | undefined> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined)
  if (stat === undefined) return undefined
  // The name of the program may contain blanks and brackets: the numbers begin behind its last bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [utime = 0, stime = 0, cutime = 0, cstime = 0] = fields.slice(11, 15).map(Number)
  return { parent: Number(fields[1]), ticks: utime + stime + cutime + cstime }
}

/**
 * CPU that a process and everything it started have used so far, µs, in steps of 10 ms.
 * @throws {BenchError} when the process has ended, or on another system than Linux.
 */
export async function processTreeCpu(root: number): Promise<number> {
  const names = await readdir('/proc').catch(() => [])
  const pids = names.map(Number).filter((pid) => pid > 0)
  const processes = new Map<number, Process>()
  await Promise.all(
    pids.map(async (pid) => {
      const found = await readProcess(pid)
      if (found) processes.set(pid, found)
    }),
  )
  if (!processes.has(root)) throw new BenchError(`process ${root} has ended`)
  const belongs = (pid: number): boolean => {
    const parent = processes.get(pid)?.parent ?? 0
    return pid === root || (parent > 1 && belongs(parent))
  }
  let ticks = 0
  for (const [pid, process] of processes) if (belongs(pid)) ticks += process.ticks
  return (ticks * 1_000_000) / ticksPerSecond
}

/** The id of a running program of this name, of whichever user; undefined when there is none. */
export async function processNamed(name: string): Promise<number | undefined> {
  for (const pid of (await readdir('/proc').catch(() => [])).map(Number).filter((one) => one > 0)) {
    const found = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
    if (found.trim() === name) return pid
  }
  return undefined
}
