/** Called by the rule for `…/config/reported`: records the configuration version that a device runs. */
import * as z from 'zod'
import type { ConfigurationStore } from '../../lib/configuration/configurations.ts'
import { AppError } from '../../lib/errors.ts'
import { decodeJson } from '../../lib/json.ts'
import type { Log } from '../../lib/log.ts'
import type { TopicTree } from '../../lib/mqtt/topics.ts'
import * as runtime from '../../lib/runtime.ts'
import { serveEvents } from '../../lib/serve.ts'

/** The fields of a message that the rule selects. */
export interface ReportEvent {
  /** Base64. */
  readonly payload: string
  readonly topic: string
  readonly client_id: string
  /** Milliseconds since the epoch. */
  readonly received_at: number
}

const Report = z.object({ version: z.int().min(0) })

interface Deps {
  log: Log
  configurations: Pick<ConfigurationStore, 'report'>
  topics: TopicTree
}

export const reportConfiguration =
  ({ log, configurations, topics }: Deps) =>
  async (event: ReportEvent): Promise<void> => {
    const { deviceId, kind } = topics.parse(event.topic) ?? {}
    if (deviceId === undefined || kind !== 'config/reported') return
    let report: unknown
    try {
      report = decodeJson(Buffer.from(event.payload, 'base64'))
    } catch (error) {
      if (!(error instanceof AppError)) throw error
    }
    const parsed = Report.safeParse(report)
    if (parsed.success) await configurations.report(deviceId, parsed.data.version, event.received_at)
    else log.warn('reported configuration ignored: it has no version', { device_id: deviceId })
  }

export const handler = serveEvents(reportConfiguration, {
  configurations: runtime.configurationStore,
  topics: runtime.topics,
})
