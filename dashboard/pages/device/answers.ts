/** Answers of the API that the page of one device shows. */
import type { documentation as configuration } from '../../../functions/admin/configuration.ts'
import type { documentation as configure } from '../../../functions/admin/configure.ts'
import type { documentation as events } from '../../../functions/admin/events.ts'
import type { documentation as fields } from '../../../functions/telemetry/fields.ts'
import type { Answer } from '../../answers.ts'

export type Configuration = Answer<typeof configuration>
export type ConfiguredAnswer = Answer<typeof configure>
export type DeviceEvents = Answer<typeof events>
export type DeviceEvent = DeviceEvents['events'][number]
export type Fields = Answer<typeof fields>
export type FieldInfo = Fields['fields'][number]

/** The newest value of every field; `timestamp` is that of the newest of them. */
export interface Latest {
  readonly latest_data: Readonly<Record<string, unknown>> & { readonly timestamp: string }
}
