/** What a process needs of the computer while it is watched. */
import { readFileSync } from 'node:fs'
import { SimulationError } from './http-client.ts'

export interface ProcessUsage {
  /** CPU time while it was watched, s. */
  readonly cpu_s: number
  /** Mean load while it was watched, % of one core. */
  readonly cpu_percent: number
  /** Largest resident memory of its life, MiB. */
  readonly memory_mib: number
}

interface Reading {
  readonly cpuS: number
  readonly memoryMib: number
}

/** Linux counts CPU time in hundredths of a second. */
const ticksPerSecond = 100

const ownReading = (): Reading => {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage()
  return { cpuS: (userCPUTime + systemCPUTime) / 1e6, memoryMib: maxRSS / 1024 }
}

const readingOf = (pid: number): Reading => {
  try {
    // The name of the program may contain blanks, and ends with the last bracket.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, '').trim().split(' ')
    const peak = /^VmHWM:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    return {
      cpuS: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
      memoryMib: Number(peak?.[1] ?? 0) / 1024,
    }
  } catch {
    throw new SimulationError(`There is no process ${pid} to watch; --server-pid works on Linux only.`)
  }
}

/** Watches this process, or another one of this computer. */
export class ProcessMeter {
  readonly #pid: number | undefined
  #begin: Reading
  #since = performance.now()

  /**
   * @param pid undefined: this process.
   * @throws {SimulationError} when there is no such process.
   */
  constructor(pid?: number) {
    this.#pid = pid
    this.#begin = this.#read()
  }

  /** Counts from now on. */
  start(): void {
    this.#begin = this.#read()
    this.#since = performance.now()
  }

  /** Since the last start. */
  usage(): ProcessUsage {
    const { cpuS, memoryMib } = this.#read()
    const used = cpuS - this.#begin.cpuS
    const seconds = (performance.now() - this.#since) / 1000
    return {
      cpu_s: Math.round(used * 10) / 10,
      cpu_percent: Math.round((1000 * used) / seconds) / 10,
      memory_mib: Math.round(memoryMib),
    }
  }

  #read = (): Reading => (this.#pid === undefined ? ownReading() : readingOf(this.#pid))
}
