/** The light that turns green when the first reading of a device is stored. */
import { useEffect, useState } from 'preact/hooks'
import type { Reading, ShownDevice } from '../../answers.ts'
import { get } from '../../api.ts'
import { localTime, measure } from '../../format.ts'
import { live } from '../../live.ts'
import { href } from '../../router.ts'
import { ButtonLink } from '../../ui/button.tsx'

const askEveryMs = 2000

/** What arrived of a device. */
interface Arrival {
  readonly stored: number
  readonly rejected: number
  readonly reading: Reading | undefined
}

/** Asks until the first reading is stored; a reading on the stream makes it ask at once. */
const useArrival = (deviceId: number): Arrival => {
  const [arrival, setArrival] = useState<Arrival>({ stored: 0, rejected: 0, reading: undefined })
  useEffect(() => {
    const abort = new AbortController()
    const { signal } = abort
    let timer: ReturnType<typeof setTimeout> | undefined
    const ask = async () => {
      clearTimeout(timer)
      const answer = await get<ShownDevice>(`admin/devices/${deviceId}`, undefined, { signal })
      if (signal.aborted) return
      const { stored = 0, rejected = 0 } = answer.ok ? answer.value.accounting : {}
      if (stored === 0) {
        setArrival({ stored, rejected, reading: undefined })
        timer = setTimeout(ask, askEveryMs)
        return
      }
      const latest = await get<{ latest_data: Reading }>(`telemetry/${deviceId}/latest`, undefined, {
        signal,
      })
      if (!signal.aborted)
        setArrival({ stored, rejected, reading: latest.ok ? latest.value.latest_data : undefined })
    }
    void ask()
    const stop = live.watchDevice(deviceId, () => void ask())
    return () => {
      abort.abort()
      clearTimeout(timer)
      stop()
    }
  }, [deviceId])
  return arrival
}

const shownValue = (value: unknown) => (typeof value === 'number' ? measure(value) : String(value))

const Values = ({ reading }: { reading: Reading }) => (
  <p>
    {Object.entries(reading)
      .filter(([name]) => name !== 'timestamp' && name !== 'metadata')
      .slice(0, 6)
      .map(([name, value]) => `${name} ${shownValue(value)}`)
      .join(', ')}
    <span class="muted">{`, ${localTime(reading.timestamp)}`}</span>
  </p>
)

export const ArrivalLight = ({ deviceId }: { deviceId: number }) => {
  const { stored, rejected, reading } = useArrival(deviceId)
  const state = stored > 0 ? 'arrived' : rejected > 0 ? 'refused' : 'waiting'
  return (
    <div class={`arrival ${state}`} role="status">
      <span class="lamp" aria-hidden="true" />
      <div>
        {state === 'waiting' && (
          <>
            <p class="arrival-title">Waiting for the first reading</p>
            <p>Run one of the programs below. This light turns green when its reading is stored.</p>
          </>
        )}
        {state === 'refused' && (
          <>
            <p class="arrival-title">A message arrived, but nothing of it could be stored</p>
            <p>
              The reason is among the{' '}
              <a href={href('/dead-letters', { device_id: deviceId })}>dead letters</a>, or in the answer that
              the device got.
            </p>
          </>
        )}
        {state === 'arrived' && (
          <>
            <p class="arrival-title">The first reading is stored</p>
            {reading && <Values reading={reading} />}
            <p class="actions">
              <ButtonLink href={href(`/devices/${deviceId}`)} kind="primary">
                Show the device
              </ButtonLink>
            </p>
          </>
        )}
      </div>
    </div>
  )
}
