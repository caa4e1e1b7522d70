/** The part of the store on InfluxDB that writes: a function that only takes readings has no other part in its bundle. */
import { setTimeout as pause } from 'node:timers/promises'
import { flux } from '@influxdata/influxdb-client'
import type { Log } from '../../log.ts'
import type { TelemetryStore, WriteEntry, WriteOutcome } from '../store.ts'
import { createClients, type InfluxClients, type InfluxConnection } from './connection.ts'
import { measurement } from './field-keys.ts'
import { FieldKinds } from './field-kinds.ts'
import { FluxReader, instant } from './flux.ts'
import { QueryGate } from './query-gate.ts'
import { InfluxWriter } from './write.ts'

export interface InfluxWritesOptions {
  connection: InfluxConnection
  log: Log
  /** Milliseconds without a byte after which a request fails. */
  timeoutMs?: { write?: number; query?: number }
  /** How old the knowledge of the fields that other processes wrote may become, ms. */
  fieldsMaxAgeMs?: number
}

/** Milliseconds that {@link InfluxWrites.close} waits for running writes; unfinished ones stay in the spool. */
const closeMs = 1000

export class InfluxWrites implements Pick<TelemetryStore, 'write' | 'close'> {
  readonly clients: InfluxClients
  readonly #bucket: string
  readonly #reader: FluxReader
  readonly #kinds: FieldKinds
  readonly #writer: InfluxWriter

  constructor({ connection, log, timeoutMs, fieldsMaxAgeMs = 60_000 }: InfluxWritesOptions) {
    this.#bucket = connection.bucket
    this.clients = createClients(connection, timeoutMs)
    // The field keys are asked for by one query at a time.
    this.#reader = new FluxReader(this.clients.querying, connection, new QueryGate(log, 1))
    this.#kinds = new FieldKinds((each) => this.#loadFieldKeys(each), fieldsMaxAgeMs)
    this.#writer = new InfluxWriter(this.clients.writing, connection, this.#kinds, log)
  }

  write(batch: readonly WriteEntry[]): Promise<readonly WriteOutcome[]> {
    return this.#writer.write(batch)
  }

  /** Ends the writes under way, then the connections. */
  async close(): Promise<void> {
    await Promise.race([this.#writer.close(), pause(closeMs, undefined, { ref: false })])
    this.clients.agent.destroy()
    await this.#kinds.close()
  }

  async #loadFieldKeys(each: (key: string) => void): Promise<void> {
    const script = flux`import "influxdata/influxdb/schema"
      schema.measurementFieldKeys(bucket: ${this.#bucket}, measurement: ${measurement}, start: ${instant(0n)})`
    await this.#reader.query(script, (column) => each(String(column('_value'))))
  }
}
