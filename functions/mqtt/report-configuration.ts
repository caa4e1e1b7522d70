/** By rule from `iotflow/devices/+/config/reported`: the version of the configuration that a device runs. */
import * as z from 'zod'
import { onEvent } from '../../lib/built.ts'
import type { ConfigurationStore } from '../../lib/commands/configuration.ts'
import { AppError } from '../../lib/errors.ts'
import { decodeJson } from '../../lib/json.ts'
import type { Log } from '../../lib/log.ts'
import { parseDeviceTopic } from '../../lib/mqtt/topics.ts'
import * as runtime from '../../lib/runtime.ts'

/** What the rule selects of a message. */
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
}

export const reportConfiguration =
  ({ log, configurations }: Deps) =>
  async (event: ReportEvent): Promise<void> => {
    const { deviceId, kind } = parseDeviceTopic(event.topic) ?? {}
    if (deviceId === undefined || kind !== 'config/reported') return
    let report: unknown
    try {
      report = decodeJson(Buffer.from(event.payload, 'base64'))
    } catch (error) {
      if (!(error instanceof AppError)) throw error
    }
    const parsed = Report.safeParse(report)
    if (parsed.success) await configurations.report(deviceId, parsed.data.version, event.received_at)
    else log.warn('a reported configuration without a version was left out', { device_id: deviceId })
  }

export const handler = onEvent(async () =>
  reportConfiguration({
    log: runtime.log(),
    configurations: await runtime.configurationStore(),
  }),
)
