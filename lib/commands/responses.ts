/** Schemas of commands, as responses show them. */
import * as z from 'zod'
import { commandStates } from '../registry/schema.ts'
import { count, deviceId, time } from '../response-fields.ts'
import { channels } from './command.ts'

const value: z.ZodType = z.json()

export const commandId = z
  .string()
  .describe('The device sees the same id: by it, it recognises a command that comes twice.')

/** The parameter in the path of a command. */
export const commandIdParameter = {
  command_id: {
    description: 'The id of the command.',
    schema: { type: 'string', pattern: '^[0-9a-f-]{36}$' },
    example: '3f0c2a52-1f0f-4c7e-9d6c-0a4b8a4c1b7e',
  },
}

export const status = z.enum(commandStates)

/** A command as its device sees it. */
const message = {
  command_id: commandId,
  command: z.string(),
  params: value,
  issued_at: time,
  expires_at: time,
}

export const pendingCommand = z.strictObject(message).meta({ id: 'PendingCommand' })

export const command = z
  .strictObject({
    ...message,
    device_id: deviceId,
    channel: z.enum(channels).nullable(),
    status,
    attempts: count.describe('Deliveries that reached the device, or its broker.'),
    max_attempts: count,
    sent_at: time.nullable(),
    acknowledged_at: time.nullable(),
    finished_at: time.nullable().describe('When it succeeded, failed, expired or was cancelled.'),
    result: value.describe('What the device answered last.'),
    fleet_command_id: z.string().optional(),
  })
  .meta({ id: 'Command' })
