/**
 * Registers devices. A fleet that starts for the first time registers at once, so that one transaction writes all whose requests
 * came while the one before it was under way.
 */
import { AppError, knownError } from '../errors.ts'
import { GroupCommit } from '../group-commit.ts'
import type { RegistryDb } from '../registry/db.ts'
import { normalName } from '../registry/folded-texts.ts'
import { mintKey } from './credentials.ts'
import type { Device, NewDevice } from './device.ts'
import type { DeviceRows } from './device-rows.ts'
import { countRegistrations, isRefusedByKey, refusedRegistration } from './enrollment-keys.ts'
import { insertDevices, type NewDeviceRow, newDeviceRow } from './new-devices.ts'

export interface Registered {
  readonly device: Device
  readonly apiKey: string
}

type Outcome = Registered | { readonly error: unknown }

export interface RegistrationOptions {
  readonly db: RegistryDb
  readonly rows: DeviceRows
  /** Characters of a new key, 24–64. */
  readonly keyLength: number
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

/** Devices of one transaction: on a file it runs on the thread of the requests. */
const maxGroup = 200
/** Registrations that may wait. */
const maxWaiting = 10_000

export const nameTaken = () =>
  new AppError('CONFLICT', 'A device with this name is registered already.', {
    details: [{ path: 'name', message: 'is taken' }],
  })

/** The outcome of a second device with the name of this one; undefined when that one may have the name. */
const sameNameAs = (first: Outcome): Outcome | undefined => {
  if (!('error' in first)) return { error: nameTaken() }
  return isRefusedByKey(first.error) ? undefined : first
}

const rowOf = (input: NewDevice, apiKey: string, at: number): NewDeviceRow => {
  const { enrollmentKeyId: id } = input
  const event =
    id === undefined
      ? { detail: null }
      : { detail: JSON.stringify({ enrollment_key: id }), enrollment_key: id }
  return newDeviceRow(input, { apiKey, at }, event)
}

export class Registration {
  readonly #options: RegistrationOptions
  readonly #group: GroupCommit<NewDevice, Outcome>

  constructor(options: RegistrationOptions) {
    this.#options = options
    this.#group = new GroupCommit({ write: (group) => this.#write(group), maxGroup, maxWaiting })
  }

  /**
   * @throws {AppError} CONFLICT when the name is taken; the existing device stays as it is. FORBIDDEN or UNAUTHORIZED when the
   * enrolment key may not register it any more. UNAVAILABLE when too many wait.
   */
  async register(input: NewDevice): Promise<Registered> {
    const outcome = await this.#group.add({ ...input, name: normalName(input.name) })
    if ('error' in outcome) throw outcome.error
    return outcome
  }

  /** Resolves when all are written that have come. */
  settled(): Promise<void> {
    return this.#group.settled()
  }

  /** Of devices with one name the first one that may have it gets it. */
  async #write(group: readonly NewDevice[]): Promise<Outcome[]> {
    const outcomes = new Map<NewDevice, Outcome>()
    for (let left = group; left.length > 0; left = left.filter((device) => !outcomes.has(device))) {
      const round = [...new Map(left.toReversed().map((device) => [device.name, device])).values()].reverse()
      await this.#writeEach(round, outcomes)
      const firsts = new Map(round.map((device) => [device.name, outcomes.get(device)]))
      for (const device of left) {
        const outcome = outcomes.get(device) ?? sameNameAs(firsts.get(device.name) as Outcome)
        if (outcome !== undefined) outcomes.set(device, outcome)
      }
    }
    return group.map((device) => outcomes.get(device) as Outcome)
  }

  /** Writes devices with different names. What one of them is refused for must not fail the others. */
  async #writeEach(group: readonly NewDevice[], outcomes: Map<NewDevice, Outcome>): Promise<void> {
    try {
      await this.#commit(group, outcomes)
    } catch (error) {
      if (group.length > 1 && knownError(error) === undefined) {
        const middle = group.length >> 1
        await this.#writeEach(group.slice(0, middle), outcomes)
        await this.#writeEach(group.slice(middle), outcomes)
        return
      }
      const refused = refusedRegistration(error) ?? error
      for (const device of group) outcomes.set(device, { error: refused })
    }
  }

  async #commit(group: readonly NewDevice[], outcomes: Map<NewDevice, Outcome>): Promise<void> {
    const { db, rows, keyLength, now } = this.#options
    const at = now()
    const keys = group.map(() => mintKey(keyLength))
    const json = JSON.stringify(group.map((device, place) => rowOf(device, keys[place] ?? '', at)))
    const isEnrolled = group.some(({ enrollmentKeyId }) => enrollmentKeyId !== undefined)
    const [made] = await db.batch([
      ...insertDevices(db, json, at),
      ...(isEnrolled ? [countRegistrations(db, json, at)] : []),
    ])
    const madeByName = new Map(made.map((row) => [row.name, row]))
    for (const [place, device] of group.entries()) {
      const row = madeByName.get(device.name)
      outcomes.set(
        device,
        row === undefined
          ? { error: nameTaken() }
          : { device: rows.toDevice(row), apiKey: keys[place] ?? '' },
      )
    }
  }
}
