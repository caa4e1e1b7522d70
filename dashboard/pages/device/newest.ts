/** The newest value of each field of a device, with its time, its units and its metadata. */
import { signal } from '@preact/signals'
import type { Reading } from '../../answers.ts'
import { get } from '../../api.ts'
import type { FieldInfo, Latest } from './answers.ts'
import type { LatestValue } from './latest-card.tsx'

const unitPrefix = 'unit.'

const isMeta = (name: string) => name === 'timestamp' || name === 'metadata'

export class NewestValues {
  readonly values = signal<readonly LatestValue[]>([])
  /** Of the newest reading, ms since the epoch. */
  readonly time = signal<number | undefined>(undefined)
  /** When a reading arrived here, ISO 8601. */
  readonly seenAt = signal<string | null>(null)
  /** Without the units. */
  readonly metadata = signal<Readonly<Record<string, string>>>({})
  readonly units = signal<ReadonlyMap<string, string>>(new Map())
  readonly #deviceId: number
  readonly #known = new Map<string, { value: unknown; at: string | null }>()
  #fields: readonly FieldInfo[] | undefined

  constructor(deviceId: number) {
    this.#deviceId = deviceId
  }

  async load(): Promise<void> {
    const path = `telemetry/${this.#deviceId}`
    const [latest, newest] = await Promise.all([
      get<Latest>(`${path}/latest`),
      get<{ data: readonly Reading[] }>(path, { limit: 1, start_time: '2000-01-01T00:00:00Z' }),
    ])
    const [reading] = newest.ok ? newest.value.data : []
    if (reading?.metadata !== undefined) this.#takeMetadata(reading.metadata)
    if (!latest.ok) return
    const { timestamp, ...values } = latest.value.latest_data
    for (const [field, value] of Object.entries(values))
      if (!this.#known.has(field)) this.#known.set(field, { value, at: this.#arrivalOf(field) })
    this.#takeTime(timestamp)
    this.#show()
  }

  /** Takes a reading that has just arrived. */
  add(reading: Reading): void {
    for (const field in reading)
      if (!isMeta(field)) this.#known.set(field, { value: reading[field], at: reading.timestamp })
    if (reading.metadata !== undefined) this.#takeMetadata(reading.metadata)
    this.#takeTime(reading.timestamp)
    this.seenAt.value = new Date().toISOString()
    this.#show()
  }

  /** The fields tell when each value arrived, which `latest` does not. */
  useFields(fields: readonly FieldInfo[] | undefined): void {
    if (fields === this.#fields) return
    this.#fields = fields
    for (const [field, known] of this.#known)
      if (known.at === null) this.#known.set(field, { ...known, at: this.#arrivalOf(field) })
    queueMicrotask(() => this.#show())
  }

  #arrivalOf(field: string): string | null {
    const times = (this.#fields ?? []).filter(({ name }) => name === field).map((info) => info.last_seen)
    return times.sort().at(-1) ?? null
  }

  #takeTime(timestamp: string): void {
    const time = Date.parse(timestamp)
    if (time > (this.time.peek() ?? 0)) this.time.value = time
  }

  #takeMetadata(metadata: Readonly<Record<string, string>>): void {
    const entries = Object.entries(metadata)
    this.metadata.value = Object.fromEntries(entries.filter(([name]) => !name.startsWith(unitPrefix)))
    const units = entries.filter(([name]) => name.startsWith(unitPrefix))
    // The same map while nothing changes: charts are drawn anew with another one.
    const isNew = units.some(([name, unit]) => this.units.peek().get(name.slice(unitPrefix.length)) !== unit)
    if (isNew) this.units.value = new Map(units.map(([name, unit]) => [name.slice(unitPrefix.length), unit]))
  }

  #show(): void {
    this.values.value = [...this.#known]
      .map(([field, { value, at }]) => ({ field, value, at }))
      .sort((a, b) => (a.field < b.field ? -1 : 1))
  }
}
