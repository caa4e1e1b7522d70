/** Where the device was in the range of the charts, without a map below: nothing is loaded from elsewhere. */
import { useMemo } from 'preact/hooks'
import type { ChartModel } from '../../charts/model.ts'
import { measure } from '../../format.ts'
import { Card } from '../../ui/layout.tsx'
import { trackOf } from './track.ts'

const distance = (metres: number) =>
  metres < 1000 ? `${Math.round(metres)} m` : `${measure(metres / 1000)} km`

interface TrackCardProps {
  model: ChartModel
  fields: readonly [latitude: string, longitude: string]
}

export const TrackCard = ({ model, fields }: TrackCardProps) => {
  const version = model.version.value
  // The version stands for the points of the model.
  const track = useMemo(
    () => trackOf(model.table.columns(fields, model.window.peek()?.ms ?? 0)),
    [model, version, fields[0], fields[1]],
  )
  if (track === undefined) return null
  const [x, y] = track.points.at(-1) ?? [50, 50]
  const place = `${track.last.latitude.toFixed(5)}, ${track.last.longitude.toFixed(5)}`
  return (
    <Card title="Track">
      <svg
        class="track"
        viewBox="0 0 100 100"
        role="img"
        aria-label={`The way of the device; it is at ${place}`}
      >
        <path d="M0 25H100M0 50H100M0 75H100M25 0V100M50 0V100M75 0V100" class="track-grid" />
        <polyline
          points={track.points.map(([left, top]) => `${left.toFixed(2)},${top.toFixed(2)}`).join(' ')}
        />
        <circle cx={x} cy={y} r="2" />
      </svg>
      <p class="muted small">
        Now at {place}. North is up, a square is {distance(track.metres / 4)} wide.
      </p>
    </Card>
  )
}
