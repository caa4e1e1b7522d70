/** Called by a schedule: finds what no reading tells of alerts, such as silence. `npm start` does so by itself, and more often. */
import type { AlertSweep } from '../../lib/alerts/sweep.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'
import { webhookWaker } from '../../lib/runtime-webhooks.ts'
import { serveEvents } from '../../lib/serve.ts'
import type { Waker } from '../../lib/webhooks/waker.ts'

interface Deps {
  log: Log
  sweep: Pick<AlertSweep, 'run'>
  /** Undefined where webhooks are told without it. */
  waker?: Waker | undefined
}

export const sweepAlerts =
  ({ sweep, waker }: Deps) =>
  async (_event: unknown): Promise<void> => {
    await sweep.run()
    // Alerts that readings have opened are told then, too.
    await waker?.wake()
  }

export const handler = serveEvents(sweepAlerts, { sweep: runtime.alertSweep, waker: webhookWaker })
