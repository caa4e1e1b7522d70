/** The newest value of each field, with its age. */
import { valueText } from '../../charts/value-text.ts'
import { Card } from '../../ui/layout.tsx'
import { Time } from '../../ui/time.tsx'

export interface LatestValue {
  readonly field: string
  readonly value: unknown
  /** ISO 8601: when it arrived. */
  readonly at: string | null
}

const mostShown = 200

interface LatestCardProps {
  values: readonly LatestValue[]
  units: ReadonlyMap<string, string>
}

export const LatestCard = ({ values, units }: LatestCardProps) => (
  <Card title="Latest values">
    {values.length === 0 && <p class="muted">The device has not sent any reading yet.</p>}
    {values.length > 0 && (
      <table class="plain-table">
        <thead class="for-readers">
          <tr>
            <th scope="col">Field</th>
            <th scope="col">Value</th>
            <th scope="col">Age</th>
          </tr>
        </thead>
        <tbody>
          {values.slice(0, mostShown).map(({ field, value, at }) => (
            <tr key={field}>
              <th scope="row">{field}</th>
              <td class="number">
                <strong>{valueText(value)}</strong>
                {units.has(field) && <span class="muted"> {units.get(field)}</span>}
              </td>
              <td class="number muted nowrap">
                <Time time={at} never="–" />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    )}
  </Card>
)
