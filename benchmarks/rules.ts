/** Alert rules that judge every message of a fleet during a measurement, and that no message breaks. */
import { adminToken } from './dashboards.ts'
import type { FleetDevice } from './fleet.ts'
import { BenchError } from './measure.ts'

const fields = ['temperature', 'humidity', 'pressure', 'battery_level', 'signal_strength']
/** No value of a message is beyond these. */
const [lowest, highest] = [-1e6, 1e6]

/** Most rules for each device. */
export const maxRulesEach = 10

const conditionOf = (at: number) => ({
  kind: 'threshold',
  field: fields[at % fields.length],
  ...(at < fields.length ? { op: '>', value: highest } : { op: '<', value: lowest }),
})

/** Creates so many rules for each device. @throws {BenchError} when one is refused. */
export async function createRules(url: string, fleet: readonly FleetDevice[], each: number): Promise<void> {
  const rules = fleet.flatMap(({ id }) =>
    Array.from({ length: each }, (_, at) => ({
      name: `bench ${id} ${at}`,
      target: { device_id: id },
      condition: conditionOf(at),
    })),
  )
  for (const rule of rules) {
    const response = await fetch(`${url}/api/v1/admin/alert-rules`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${adminToken}`, 'Content-Type': 'application/json' },
      body: JSON.stringify(rule),
    })
    if (response.status !== 201)
      throw new BenchError(`${url}: an alert rule got HTTP ${response.status} ${await response.text()}`)
    await response.arrayBuffer()
  }
}
