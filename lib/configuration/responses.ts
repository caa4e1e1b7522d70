/** Schemas of configurations, as responses show them. */
import * as z from 'zod'
import { count, time } from '../response-fields.ts'
import { dataTypes } from './configurations.ts'
import { jsonValue } from './fields.ts'
import { fleetStatuses } from './fleet-configuration-reader.ts'

export const dataType = z.enum(dataTypes)

/** Any value of JSON. */
export const value: z.ZodType = jsonValue

export const version = count.describe('Raised by each change; 0: there has never been one.')

export const entries = z
  .record(z.string(), z.strictObject({ value, data_type: dataType, updated_at: time }))
  .meta({ id: 'ConfigurationEntries', description: 'By key.' })

/** The fields of a configuration for operators. */
export const configuration = {
  version,
  reported_version: count.nullable().describe('What the device says it runs.'),
  reported_at: time.nullable(),
  configuration: entries,
}

/** A change of many configurations. */
export const fleetConfiguration = z
  .strictObject({
    fleet_configuration_id: z.int().min(1),
    filter: z.record(z.string(), value).describe('As it was sent.'),
    keys: z.array(z.string()).describe('The keys that it sets or deletes.'),
    state: z.enum(fleetStatuses),
    targets: count.describe(
      'Devices that fitted when it was made; one that is deleted since counts nowhere else.',
    ),
    waiting: count.describe('Devices that still have their configuration of before.'),
    refused: count.describe('Devices whose configuration would have become too large: they keep theirs.'),
    applied: count.describe('Devices with a new version.'),
    published: count.describe('Of these, how many the broker has got.'),
    in_sync: count.describe('Of these, how many say that they run it, or a newer one.'),
    created_at: time,
    applied_at: time.nullable().describe('When the last device got its new version.'),
  })
  .meta({ id: 'FleetConfiguration' })
