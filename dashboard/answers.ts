/** Types of the answers that the pages show: read from the schemas that the server checks its replies against. */
import type * as z from 'zod'
import type { documentation as dashboard } from '../functions/admin/dashboard.ts'
import type { documentation as deadLetters } from '../functions/admin/dead-letters.ts'
import type { documentation as importDevices } from '../functions/admin/import.ts'
import type { documentation as replay } from '../functions/admin/replay-dead-letter.ts'
import type { documentation as settings } from '../functions/admin/settings.ts'
import type { documentation as showDevice } from '../functions/admin/show.ts'
import type { documentation as showDeadLetter } from '../functions/admin/show-dead-letter.ts'
import type { documentation as mqttCredentials } from '../functions/devices/mqtt-credentials.ts'
import type { documentation as health } from '../functions/system/health.ts'

type JsonOf<R> = R extends {
  readonly content: { readonly 'application/json': infer Schema extends z.ZodType }
}
  ? z.output<Schema>
  : never

/** The JSON body of a function's answer: `Answer<typeof documentation, 201>`; 200 when no status is given. */
export type Answer<D extends () => { readonly responses: object }, Status extends number = 200> = JsonOf<
  ReturnType<D>['responses'][Status & keyof ReturnType<D>['responses']]
>

export type Overview = Answer<typeof dashboard>
/** What happened to a device. */
export type FleetEvent = Overview['events'][number]
export type Setting = Answer<typeof settings>['settings'][number]
export type DeadLetterList = Answer<typeof deadLetters>
export type DeadLetter = DeadLetterList['dead_letters'][number]
export type DeadLetterDetails = Answer<typeof showDeadLetter>['dead_letter']
export type ReplayAnswer = Answer<typeof replay>
export type ImportAnswer = Answer<typeof importDevices>
export type ShownDevice = Answer<typeof showDevice>
export type MqttCredentials = Answer<typeof mqttCredentials>['credentials']
export type HealthAnswer = Answer<typeof health>

/** A reading as the stream sends it. */
export interface StreamedReading {
  readonly device_id: number
  readonly timestamp: string
  readonly data: Readonly<Record<string, number | string | boolean>>
}

/** A stored reading: beside its time every field under its own name. */
export interface Reading {
  readonly timestamp: string
  readonly metadata?: Readonly<Record<string, string>>
  readonly [field: string]: unknown
}
