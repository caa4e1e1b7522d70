/** The newest value of every field of a device. */
import { flux } from '@influxdata/influxdb-client'
import { LRUCache } from 'lru-cache'
import { type FieldValue, sortedByName } from '../reading.ts'
import type { Latest } from '../store.ts'
import type { DeviceKeys } from './device-keys.ts'
import { metadataPrefix, receivedAtKey } from './field-keys.ts'
import type { FluxReader } from './flux.ts'
import { otherKeys } from './key-patterns.ts'
import { ReadingMerger } from './merge.ts'
import { type PointReader, type Points, selectPoints, timeOfRow } from './points.ts'

/** Fields that the newest values contain at most. */
const maxLatestFields = 1000
/** Names of a reading, and characters of all of them, beyond which their pattern is not worth its length. */
const maxNames = 200
const maxCharacters = 8000
/** Devices whose newest reading is remembered, and names of all of them. */
const maxDevices = 10_000
const maxNamesKept = 200_000

/** Asks for any point that has a field with another name, whatever the type of its value. */
const selectOthers = (deviceId: number, before: bigint, names: readonly string[]): string | undefined => {
  const keys = otherKeys([...names, receivedAtKey], [...names.map((name) => `${name}|`), metadataPrefix])
  return selectPoints({ deviceId, from: 0n, to: before, keys, limit: 1 })
}

/** What the newest reading of a device was like when it was asked for: a guess, which no answer relies on. */
interface Guess {
  readonly time: bigint
  readonly names: readonly string[]
}

interface Found {
  readonly merger: ReadingMerger
  /** Times of the newest points, one for each series. */
  readonly times: readonly bigint[]
  /** Whether there are fields beside those of the guess. */
  readonly hasOthers: boolean
}

export class LatestReader {
  readonly #points: PointReader
  readonly #flux: FluxReader
  readonly #keys: DeviceKeys
  readonly #guesses = new LRUCache<number, Guess>({
    max: maxDevices,
    maxSize: maxNamesKept,
    sizeCalculation: ({ names }) => names.length + 1,
  })

  constructor(points: PointReader, fluxReader: FluxReader, keys: DeviceKeys) {
    this.#points = points
    this.#flux = fluxReader
    this.#keys = keys
  }

  /**
   * Most readings have all fields of their device: then the newest one is the answer, once InfluxDB says that no other field
   * exists. Where the newest reading is like the one before, this takes one request, else two. For other devices, and where the
   * measurement has many keys, each key is asked for.
   */
  async read(deviceId: number, before: bigint): Promise<Latest | undefined> {
    if (!(await this.#keys.areFew())) return this.#readEachKey(deviceId, before)
    const known = this.#guesses.get(deviceId)
    let guess = known !== undefined && known.time < before ? known : undefined
    let found = await this.#newest(deviceId, before, guess)
    if (found?.times.length === 0 && guess !== undefined) {
      // The readings from that time on were deleted.
      guess = undefined
      found = await this.#newest(deviceId, before, guess)
    }
    if (found === undefined) return undefined
    const { merger, times, hasOthers } = found
    const time = merger.times().at(-1)
    if (time === undefined) return undefined
    const { fields } = merger.reading(time)
    const names = Object.keys(fields)
    // Two points of one time: which of them is newer, only their arrival tells.
    const isSingle = times.filter((one) => one === time).length === 1
    const isLong = names.length > maxNames || names.join('').length > maxCharacters
    if (!isSingle || isLong) return this.#readEachKey(deviceId, before)
    const isAsGuessed =
      guess !== undefined && !hasOthers && guess.names.every((name) => Object.hasOwn(fields, name))
    if (!isAsGuessed && (await this.#hasOthers(deviceId, before, names)))
      return this.#readEachKey(deviceId, before)
    this.#guesses.set(deviceId, { time, names })
    return { time, fields }
  }

  async #newest(deviceId: number, before: bigint, guess: Guess | undefined): Promise<Found | undefined> {
    const newest = selectPoints({ deviceId, from: guess?.time ?? 0n, to: before, limit: 1, order: 'desc' })
    const others = guess && selectOthers(deviceId, before, guess.names)
    if (newest === undefined) return undefined
    const merger = new ReadingMerger()
    const times: bigint[] = []
    let hasOthers = false
    await this.#points.read(others === undefined ? [newest] : [newest, others], (points: Points) => {
      if (points.select === 1) hasOthers ||= points.rows.length > 0
      else {
        times.push(...points.rows.map(timeOfRow))
        merger.addPoints(points)
      }
    })
    return { merger, times, hasOthers }
  }

  async #hasOthers(deviceId: number, before: bigint, names: readonly string[]): Promise<boolean> {
    const select = selectOthers(deviceId, before, names)
    let found = false
    if (select !== undefined)
      await this.#points.read([select], ({ rows }) => {
        found ||= rows.length > 0
      })
    return found
  }

  async #readEachKey(deviceId: number, before: bigint): Promise<Latest | undefined> {
    const points = this.#flux.points({ from: 0n, to: before }, deviceId)
    if (points === undefined) return undefined
    const merger = new ReadingMerger()
    await this.#flux.rows(flux`${points} |> last()`, (row) => merger.add(row))
    // The last time of arrival of a series may belong to a later point than the last value of a field.
    await this.#flux.completePoints(deviceId, merger.timesWithConflicts(), merger)
    const times = merger.times().reverse()
    const newest = times[0]
    if (newest === undefined) return undefined
    const fields: Record<string, FieldValue> = {}
    let count = 0
    for (const time of times) {
      const names = Object.entries(merger.reading(time).fields).sort(([one], [other]) =>
        one < other ? -1 : 1,
      )
      for (const [name, value] of names) {
        if (Object.hasOwn(fields, name) || count === maxLatestFields) continue
        fields[name] = value
        count += 1
      }
    }
    return { time: newest, fields: sortedByName(fields) }
  }
}
