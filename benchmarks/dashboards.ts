/** Dashboards that are open during a measurement: each reads a stream of live updates, and does nothing with it. */
import { BenchError } from './measure.ts'

export const adminToken = 'admin-token-of-the-benchmarks'

export class Dashboards {
  readonly #ending = new AbortController()
  readonly #readings: Promise<number>[] = []
  #lost = 0

  /**
   * Opens dashboards; every second one watches the readings of a device, too.
   * @param url of the server, whose admin token is {@link adminToken}.
   * @throws {BenchError} when one does not open.
   */
  async open(url: string, count: number, deviceId: number): Promise<void> {
    for (let at = 0; at < count; at += 1) {
      const response = await fetch(
        `${url}/api/v1/admin/stream${at % 2 === 0 ? '' : `?device_id=${deviceId}`}`,
        {
          headers: { Authorization: `Bearer ${adminToken}` },
          signal: this.#ending.signal,
        },
      )
      if (response.status !== 200 || response.body === null)
        throw new BenchError(`${url}: a dashboard got HTTP ${response.status}`)
      this.#readings.push(this.#read(response.body))
    }
  }

  /** @returns the bytes that all of them have read. @throws {BenchError} when one ended before. */
  async close(): Promise<number> {
    if (this.#lost > 0) throw new BenchError(`${this.#lost} dashboards lost their stream`)
    this.#ending.abort()
    return (await Promise.all(this.#readings)).reduce((sum, bytes) => sum + bytes, 0)
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<number> {
    let bytes = 0
    try {
      for await (const chunk of body) bytes += chunk.byteLength
    } catch {
      // A stream that is cut ends like one that is closed.
    }
    if (!this.#ending.signal.aborted) this.#lost += 1
    return bytes
  }
}
