/** Ctrl-C: the first one lets the program finish its work, the second one ends it at once. */

/** The terminal and `npm run` both send the same Ctrl-C: within this time, ms, both count as one. */
const sameMs = 500

/** A signal that the first Ctrl-C, or SIGTERM, aborts. */
export function onInterrupt(): AbortSignal {
  const interrupt = new AbortController()
  let first = 0
  const handle = (signal: NodeJS.Signals) => {
    const now = performance.now()
    if (!interrupt.signal.aborted) first = now
    else if (now - first > sameMs) process.exit(signal === 'SIGINT' ? 130 : 143)
    interrupt.abort()
  }
  process.on('SIGINT', handle)
  process.on('SIGTERM', handle)
  return interrupt.signal
}
