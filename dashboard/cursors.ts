/** The pages of a list that the server hands out with cursors. */
import { useState } from 'preact/hooks'

export interface Cursors {
  /** From 0. */
  readonly page: number
  /** Of the page; undefined for the first one. */
  readonly cursor: string | undefined
  /** @param next the cursor that leads to the page behind this one. */
  go(page: number, next: string | undefined): void
}

/** @param key what is listed: another one begins at its first page. */
export function useCursors(key: string): Cursors {
  const [state, setState] = useState<{ key: string; cursors: readonly (string | undefined)[] }>({
    key,
    cursors: [undefined],
  })
  const cursors = state.key === key ? state.cursors : [undefined]
  return {
    page: cursors.length - 1,
    cursor: cursors.at(-1),
    go: (page, next) =>
      setState({ key, cursors: page < cursors.length ? cursors.slice(0, page + 1) : [...cursors, next] }),
  }
}
