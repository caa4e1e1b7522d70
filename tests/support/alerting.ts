/** Alert rules on an embedded database of their own, with an intake whose readings they judge. */
import { join } from 'node:path'
import { AlertRules } from '../../lib/alerts/alert-rules.ts'
import { Alerts } from '../../lib/alerts/alerts.ts'
import { createLog } from '../../lib/log.ts'
import { openEmbedded } from '../../lib/telemetry/embedded/open.ts'
import { Intake } from '../../lib/telemetry/intake/intake.ts'
import { temporaryFolder } from './temporary.ts'

const log = createLog('silent')

/** @param now of the alerts, milliseconds since the epoch. */
export async function openAlerting(now: () => number) {
  const folder = await temporaryFolder()
  const embedded = await openEmbedded({
    at: { file: join(folder.path, 'telemetry.db') },
    log,
    retentionMs: 0,
  })
  const { database, writer, ledger } = embedded
  const rules = new AlertRules({ database, log, background: true })
  const alerts = new Alerts({ database, now, rulesChanged: () => rules.refresh() })
  const intake = new Intake({ writer, ledger, retentionMs: 0, log, sampler: rules })
  return {
    embedded,
    rules,
    alerts,
    intake,
    async close() {
      rules.close()
      await intake.close()
      await embedded.close()
      await folder.remove()
    },
  }
}
