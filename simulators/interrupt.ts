/** Ctrl-C, once: finish what was begun; twice: end at once. */

/** `npm run` passes a Ctrl-C on that the terminal has sent to us already: within this time both are one. */
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
