/** A bucket of InfluxDB for one server that is measured, and read without that server. */
import { randomUUID } from 'node:crypto'
import { fluxExpression, InfluxDB } from '@influxdata/influxdb-client'
import { BucketsAPI, OrgsAPI } from '@influxdata/influxdb-client-apis'
import { BenchError } from './measure.ts'

export interface InfluxSettings {
  readonly INFLUXDB_URL: string
  readonly INFLUXDB_TOKEN: string
  readonly INFLUXDB_ORG: string
}

export const influxSettings = (): InfluxSettings => {
  const { INFLUXDB_URL = '', INFLUXDB_TOKEN = '', INFLUXDB_ORG = 'iotflow' } = process.env
  return { INFLUXDB_URL, INFLUXDB_TOKEN, INFLUXDB_ORG }
}

/** Why nothing can be measured with InfluxDB here; undefined when it can. */
export const missingForInflux = (hasMosquitto: boolean): string | undefined => {
  if (influxSettings().INFLUXDB_URL === '') return 'INFLUXDB_URL and INFLUXDB_TOKEN are not set'
  return hasMosquitto ? undefined : 'mosquitto is not installed'
}

/** Names a measurement and a field that each message has once. */
interface CountedField {
  readonly measurement: string
  readonly field: string
}

/** What this project writes with every reading. */
const readingField: CountedField = { measurement: 'device_telemetry', field: 'received_at' }

export class Bucket {
  readonly name = `bench-${randomUUID()}`
  readonly #influx: InfluxDB
  readonly #settings = influxSettings()
  #id: string | undefined

  constructor() {
    const { INFLUXDB_URL: url, INFLUXDB_TOKEN: token } = this.#settings
    this.#influx = new InfluxDB({ url, token, timeout: 60_000 })
  }

  /** Makes the bucket, for a server that does not do that itself. */
  async create(): Promise<void> {
    const { orgs } = await new OrgsAPI(this.#influx).getOrgs({ org: this.#settings.INFLUXDB_ORG })
    const orgID = orgs?.[0]?.id
    if (orgID === undefined) throw new BenchError(`InfluxDB has no organization of INFLUXDB_ORG`)
    await new BucketsAPI(this.#influx).postBuckets({ body: { orgID, name: this.name, retentionRules: [] } })
  }

  /** The readings that InfluxDB really has, by a query over all of them. */
  async count({ measurement, field } = readingField): Promise<number> {
    const script = `from(bucket: "${this.name}") |> range(start: 0, stop: 2100-01-01T00:00:00Z)
      |> filter(fn: (r) => r._measurement == "${measurement}" and r._field == "${field}")
      |> count() |> group() |> sum()`
    const [row] = await this.#influx
      .getQueryApi(this.#settings.INFLUXDB_ORG)
      .collectRows<{ _value: number }>(fluxExpression(script))
    return row?._value ?? 0
  }

  /** Points that were written so far, by InfluxDB's own metrics: that costs it 4 ms, however many there are. */
  async written(): Promise<number> {
    this.#id ??= await this.#findId()
    const response = await fetch(`${this.#settings.INFLUXDB_URL}/metrics`)
    const text = await response.text()
    let points = 0
    for (const line of text.split('\n'))
      if (line.startsWith('storage_shard_write_count{') && line.includes(`bucket="${this.#id}"`))
        points += Number(line.slice(line.lastIndexOf(' ')))
    return points
  }

  async remove(): Promise<void> {
    const bucketID = await this.#findId().catch(() => undefined)
    if (bucketID !== undefined) await new BucketsAPI(this.#influx).deleteBucketsID({ bucketID })
  }

  async #findId(): Promise<string> {
    const { INFLUXDB_ORG: org } = this.#settings
    const { buckets = [] } = await new BucketsAPI(this.#influx).getBuckets({ org, name: this.name })
    const id = buckets[0]?.id
    if (id === undefined) throw new BenchError(`InfluxDB has no bucket ${this.name}`)
    return id
  }
}
