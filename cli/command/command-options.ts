/** Options and arguments that commands to one device and to many have in common. */
import type { Command } from 'commander'
import { UsageError } from '../../scripts/command.ts'
import { wholeNumber } from '../numbers.ts'

export interface SendOptions {
  readonly channel?: string
  readonly ttl?: string
  readonly attempts?: string
  readonly wait?: boolean
}

export const addSendOptions = (to: Command): Command =>
  to
    .option('--channel <name>', 'control, config or firmware: the last level of the topic')
    .option('--ttl <seconds>', 'it expires after this time (86400)')
    .option('--attempts <number>', 'deliveries while the device does not answer (1)')
    .option('--wait', 'shows what becomes of it, until it has ended')

const paramsOf = (text: string | undefined): unknown => {
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw new UsageError(`The parameters must be JSON, not ${text}.`)
  }
}

/** The fields of a new command. @throws {UsageError} */
export const newCommandBody = (
  command: string,
  params: string | undefined,
  { channel, ttl, attempts }: SendOptions,
) => ({
  command,
  params: paramsOf(params),
  channel,
  ttl_s: ttl === undefined ? undefined : wholeNumber('--ttl', ttl),
  max_attempts: attempts === undefined ? undefined : wholeNumber('--attempts', attempts),
})

/** Time between two looks at what became of a command, ms: below the limit of requests of one address. */
export const lookEveryMs = 1000
