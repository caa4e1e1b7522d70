/** Work that is repeated while something is shown. */
import { useEffect, useRef } from 'preact/hooks'

/** Calls `act` again and again, but not in a hidden tab. @param ms between two calls. */
export function useEvery(ms: number, act: () => void): void {
  const newest = useRef(act)
  newest.current = act
  useEffect(() => {
    const timer = setInterval(() => document.hidden || newest.current(), ms)
    return () => clearInterval(timer)
  }, [ms])
}
