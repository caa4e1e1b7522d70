/** What a page has asked the server for: the newest answer, the newest error, and a way to ask again. */
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { ApiError, Result } from './api.ts'

export interface Resource<T> {
  /** The newest answer; it stays while the next one is asked for. */
  readonly value: T | undefined
  readonly error: ApiError | undefined
  readonly loading: boolean
  reload(): void
}

/**
 * Asks when the component appears and when `key` changes; an answer that comes late, for an earlier key, is dropped.
 * @param ask gets a signal that aborts when the answer is no longer wanted.
 */
export function useResource<T>(key: string, ask: (signal: AbortSignal) => Promise<Result<T>>): Resource<T> {
  const [turn, setTurn] = useState(0)
  const [state, setState] = useState<Omit<Resource<T>, 'reload'> & { key: string }>({
    key,
    value: undefined,
    error: undefined,
    loading: true,
  })
  const newestAsk = useRef(ask)
  newestAsk.current = ask
  // Before the next frame is painted, so that the server is at work meanwhile.
  // A new `turn` asks again; `ask` is a new function at each rendering and is read when it is needed.
  useLayoutEffect(() => {
    const abort = new AbortController()
    setState((before) => ({
      ...before,
      key,
      loading: true,
      value: before.key === key ? before.value : undefined,
    }))
    void newestAsk.current(abort.signal).then((result) => {
      if (abort.signal.aborted) return
      setState((before) =>
        result.ok
          ? { key, value: result.value, error: undefined, loading: false }
          : { ...before, key, error: result.error, loading: false },
      )
    })
    return () => abort.abort()
  }, [key, turn])
  return { ...state, reload: () => setTurn((before) => before + 1) }
}
