/**
 * Rules at devices whose state is not about to change, as far as the connection to a file knows: of the samples that leave such a
 * state as it is, only the newest has to be written, and nothing has to be judged. Most samples are of this kind.
 */

import { alertStates } from './alert-state.ts'
import type { SampleRow } from './alert-states.ts'
import type { Row, Step } from './connection.ts'

interface Steady {
  readonly revision: number
  /** Otherwise nothing is wrong. */
  readonly isOpen: boolean
  /** Of the newest sample, ns since the epoch. */
  ts: bigint
}

/** Most states that are known: about 15 MB. */
const maxKnown = 100_000

const leavesAsItIs = ({ isOpen, revision }: Steady, sample: SampleRow): boolean =>
  revision === sample.revision && sample.key === undefined && sample.verdict !== (isOpen ? -1 : 1)

export class SteadyStates {
  /** By device and rule. */
  #known = new Map<number, Map<number, Steady>>()
  #count = 0

  forgetAll(): void {
    this.#known = new Map()
    this.#count = 0
  }

  /** To call before the states of devices are changed by anything but samples of readings. */
  forget(deviceIds: Iterable<number>): void {
    for (const deviceId of deviceIds) {
      this.#count -= this.#known.get(deviceId)?.size ?? 0
      this.#known.delete(deviceId)
    }
  }

  /**
   * @returns `marks`, the newest samples of steady states, which only make them newer; `rows`, the samples to judge after that; the
   * devices of which a state may have changed; and what is to be called when all are written.
   */
  reduce(samples: readonly SampleRow[]): {
    marks: SampleRow[]
    rows: SampleRow[]
    unsure: Set<number>
    written: () => void
  } {
    const rows: SampleRow[] = []
    const newest = new Map<Steady, SampleRow>()
    const unsure = new Set<number>()
    for (const sample of samples) {
      const steady = unsure.has(sample.deviceId)
        ? undefined
        : this.#known.get(sample.deviceId)?.get(sample.rule)
      if (steady === undefined || !leavesAsItIs(steady, sample)) {
        // From here on every sample of the device is judged, in its order.
        unsure.add(sample.deviceId)
        rows.push(sample)
      } else if (sample.ts > (newest.get(steady)?.ts ?? steady.ts)) newest.set(steady, sample)
    }
    const written = () => {
      for (const [steady, { ts }] of newest) steady.ts = ts
      this.forget(unsure)
    }
    return { marks: [...newest.values()], rows, unsure, written }
  }

  /** Reads the states of devices after their samples, and remembers the steady ones. */
  learn(deviceIds: ReadonlySet<number>): Step[] {
    if (deviceIds.size === 0 || this.#count >= maxKnown) return []
    return [
      {
        sql: `SELECT device_id, rule_id, s.revision, state, ts FROM alert_states AS s
          JOIN alert_rules AS r ON r.id = rule_id AND r.revision = s.revision AND r.enabled
          WHERE device_id IN (SELECT value FROM json_each(?)) AND state IN (${alertStates.ok}, ${alertStates.open})`,
        args: [JSON.stringify([...deviceIds])],
        committed: (rows) => this.#remember(rows),
      },
    ]
  }

  #remember(rows: readonly Row[]): void {
    for (const [device, rule, revision, state, ts] of rows) {
      const ofDevice = this.#known.get(Number(device)) ?? new Map<number, Steady>()
      this.#known.set(Number(device), ofDevice)
      const isOpen = Number(state) === alertStates.open
      ofDevice.set(Number(rule), { revision: Number(revision), isOpen, ts: ts as bigint })
      this.#count += 1
    }
  }
}
