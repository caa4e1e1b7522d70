/** Schemas of fleet commands, for the endpoints that take and show them. */
import * as z from 'zod'
import { fleetCommandStates } from '../registry/schema.ts'
import { selectorText } from '../registry/selector.ts'
import { count, time } from '../response-fields.ts'
import { channels } from './command.ts'
import { newCommand, newCommandDescriptions } from './fields.ts'
import { defaultMinResults, maxCanaries, maxIds, maxRatePerS, type NewFleetCommand } from './fleet-command.ts'

const share = z.number('must be a number from 0 to 1').min(0, 'must be 0 or more').max(1, 'must be at most 1')
const wholeNumber = (max: number) =>
  z.int('must be a whole number').min(1, 'must be 1 or more').max(max, `must be at most ${max}`)

/** Devices that fit all given parts. */
export const filter = z
  .object(
    {
      device_type: z
        .string()
        .min(1, 'must not be empty')
        .max(64, 'must have at most 64 characters')
        .optional(),
      location: z
        .string()
        .min(1, 'must not be empty')
        .max(256, 'must have at most 256 characters')
        .optional(),
      selector: selectorText.optional(),
      ids: z
        .array(
          z.int('must be the id of a device').min(1, 'must be the id of a device').max(999_999_999_999_999),
        )
        .min(1, 'must name a device')
        .max(maxIds, `must name at most ${maxIds} devices`)
        .optional(),
      all: z.literal(true, 'must be true').optional(),
    },
    'must be a JSON object',
  )
  // A misspelt name counts as absent: without this rule the command would go to every device.
  .refine(
    ({ all, ...parts }) => all === true || Object.values(parts).some((part) => part !== undefined),
    'must name device_type, location, selector or ids, or all: true',
  )

/** The fields of a fleet command beside its filter. */
export const fleetCommand = {
  ...newCommand,
  rate_per_s: z
    .number('must be a number')
    .min(0.01, 'must be 0.01 or more')
    .max(maxRatePerS, `must be at most ${maxRatePerS}`)
    .nullish(),
  canary: z
    .number('must be a number')
    .gt(0, 'must be above 0')
    .max(maxCanaries, `must be at most ${maxCanaries}`)
    .refine((number) => number < 1 || Number.isInteger(number), 'must be a share below 1, or a whole number')
    .nullish(),
  canary_wait_s: wholeNumber(2_592_000).nullish(),
  abort: z
    .object(
      { failed_share: share, min_results: wholeNumber(maxCanaries).default(defaultMinResults) },
      'must be a JSON object',
    )
    .nullish(),
}

export const fleetCommandDescriptions = {
  ...newCommandDescriptions,
  filter: 'The devices that it is for, fixed now: those that fit every part. Inactive ones are left out.',
  rate_per_s: 'Devices that get it in one second; left out: as many as the broker takes.',
  canary:
    'Devices that get it first, chosen by chance: a share below 1, or a number. The rest follows when they succeeded.',
  canary_wait_s: 'Seconds after which the rest follows although not every canary has answered.',
  abort: 'Ends it when more than `failed_share` of at least `min_results` results are failures.',
}

type Body = z.output<z.ZodObject<typeof fleetCommand>>
type Filter = z.output<typeof filter>

/** The body under the names of the service. */
export const toNewFleetCommand = (
  body: Body,
  { device_type, location, selector, ids }: Filter,
): NewFleetCommand => ({
  command: body.command,
  params: body.params,
  channel: body.channel,
  ttlS: body.ttl_s,
  maxAttempts: body.max_attempts,
  filter: {
    ...(device_type === undefined ? {} : { deviceType: device_type }),
    ...(location === undefined ? {} : { location }),
    ...(selector === undefined ? {} : { selector }),
    ...(ids === undefined ? {} : { ids: [...new Set(ids)] }),
  },
  ratePerS: body.rate_per_s ?? undefined,
  canary: body.canary ?? undefined,
  canaryWaitS: body.canary_wait_s ?? undefined,
  failedShare: body.abort?.failed_share,
  minResults: body.abort?.min_results,
})

const id = z.string().meta({ id: 'FleetCommandId' })

export const fleetCommandIdParameter = {
  fleet_command_id: {
    description: 'The id of the fleet command.',
    schema: { type: 'string', pattern: '^[0-9a-f-]{36}$' },
    example: '7d1f6a54-90c4-4a0f-8d0e-5c1d8e6a2b31',
  },
}

/** What the answer to a new fleet command says. */
export const accepted = {
  message: z.string(),
  fleet_command_id: id,
  targets: count.describe('Devices that it is for.'),
  canaries: count,
}

const progress = z
  .strictObject({
    queued: count,
    sent: count,
    acknowledged: count,
    succeeded: count,
    failed: count,
    expired: count,
    cancelled: count,
    skipped: count.describe('Devices with too many unfinished commands, and deleted ones.'),
  })
  .meta({ id: 'FleetProgress', description: 'The number of devices in each state; together the targets.' })

export const shownFleetCommand = z
  .strictObject({
    fleet_command_id: id,
    command: z.string(),
    params: z.json() as z.ZodType,
    channel: z.enum(channels).nullable(),
    max_attempts: count,
    filter: z.strictObject({
      device_type: z.string().optional(),
      location: z.string().optional(),
      selector: z.string().optional(),
      ids: z.array(z.int()).optional(),
    }),
    rate_per_s: z.number().nullable(),
    canaries: count,
    canary_wait_s: count.nullable(),
    abort: z.strictObject({ failed_share: share, min_results: count }).nullable(),
    status: z.enum(fleetCommandStates).describe('`canary`: only the first devices have it so far.'),
    reason: z.string().nullable().describe('Why it was aborted.'),
    targets: count,
    progress,
    issued_at: time,
    expires_at: time,
    finished_at: time.nullable(),
  })
  .meta({ id: 'FleetCommand' })
