/** Times that show their age, and the exact time to those who point at them. */
import { signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { age, localTime } from '../format.ts'

const everyMs = 1000

/** The time now, ms since the epoch; it moves only while something shows it. */
export const now = signal(Date.now())
let shown = 0
let timer: ReturnType<typeof setInterval> | undefined

/** Keeps {@link now} moving while the component is there. */
export function useNow(): number {
  useEffect(() => {
    shown += 1
    if (shown === 1) {
      now.value = Date.now()
      timer = setInterval(() => {
        now.value = Date.now()
      }, everyMs)
    }
    return () => {
      shown -= 1
      if (shown === 0) clearInterval(timer)
    }
  }, [])
  return now.value
}

/** `3 min ago`. @param time ISO 8601; null is shown as `never`. */
export const Time = ({ time, never = 'never' }: { time: string | null; never?: string }) => {
  const current = useNow()
  if (time === null) return <span class="muted">{never}</span>
  return (
    <time dateTime={time} title={localTime(time)}>
      {age(time, current)}
    </time>
  )
}
