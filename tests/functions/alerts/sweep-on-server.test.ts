import { prepareServer } from '../../../lib/telemetry/embedded/writer.ts'
import { describeWithSqld, startSqld } from '../../support/sqld.ts'
import { sweepCases } from './sweep-cases.ts'

describeWithSqld('the sweep of alerts, on a libSQL server', () =>
  sweepCases(async () => {
    const sqld = await startSqld()
    await prepareServer(sqld.url, undefined)
    return { env: { DATABASE_URL: sqld.url }, end: () => sqld.stop() }
  }),
)
