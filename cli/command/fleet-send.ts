/** `iotflow command fleet-send`: a command to many devices, on request with its progress. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { CommandError, numberArgument, UsageError } from '../../scripts/command.ts'
import type { Answer, Api } from '../api.ts'
import { action, examples } from '../context.ts'
import { wholeNumber } from '../numbers.ts'
import type { Output } from '../output.ts'
import { addSendOptions, lookEveryMs, newCommandBody, type SendOptions } from './command-options.ts'
import { progressText } from './fleet-progress.ts'

interface Options extends SendOptions {
  readonly type?: string
  readonly location?: string
  readonly selector?: string
  readonly ids?: string
  readonly all?: boolean
  readonly rate?: string
  readonly canary?: string
  readonly canaryWait?: string
  readonly abortShare?: string
}

const filterOf = ({ type, location, selector, ids, all }: Options) => {
  if ([type, location, selector, ids].every((part) => part === undefined) && !all)
    throw new UsageError('Name the devices with --type, --location, --selector or --ids, or --all.')
  return {
    device_type: type,
    location,
    selector,
    ids: ids?.split(',').map((id) => wholeNumber('--ids', id.trim())),
    ...(all ? { all: true } : {}),
  }
}

/** `5%` is a share, `20` a number of devices. */
const canaryOf = (text: string | undefined): number | undefined => {
  if (text === undefined) return undefined
  const percent = /^(.+)%$/.exec(text)?.[1]
  if (percent === undefined) return wholeNumber('--canary', text)
  return numberArgument('--canary', percent, { min: 0.001, max: 99.999 }) / 100
}

const shareOf = (text: string): number => {
  const percent = /^(.+)%$/.exec(text)?.[1]
  if (percent === undefined) throw new UsageError(`--abort-share must be a share such as 10%, not "${text}".`)
  return numberArgument('--abort-share', percent, { min: 0, max: 100 }) / 100
}

const bodyOf = (command: string, params: string | undefined, options: Options) => {
  const { rate, canary, canaryWait, abortShare } = options
  return {
    ...newCommandBody(command, params, options),
    filter: filterOf(options),
    rate_per_s: rate === undefined ? undefined : numberArgument('--rate', rate, { min: 0.01, max: 10_000 }),
    canary: canaryOf(canary),
    canary_wait_s: canaryWait === undefined ? undefined : wholeNumber('--canary-wait', canaryWait),
    abort: abortShare === undefined ? undefined : { failed_share: shareOf(abortShare) },
  }
}

/** Shows the progress whenever it has changed. @returns the fleet command when it has ended. */
const watch = async (server: Api, path: string, output: Output): Promise<Answer> => {
  for (let shown = ''; ; ) {
    const { fleet_command: fleet } = await server.get(path, { limit: 1 })
    const text = `${fleet.status}: ${progressText(fleet.progress)}`
    if (text !== shown && !output.isJson) await output.write(`${text}\n`)
    shown = text
    if (fleet.finished_at !== null) return fleet
    await sleep(lookEveryMs)
  }
}

export const addSendFleetCommand = (to: Command) =>
  addSendOptions(
    to
      .command('fleet-send')
      .description('sends a command to many devices')
      .argument('<command>', 'what they are to do')
      .argument('[params]', 'JSON for the devices'),
  )
    .option('--type <type>', 'only devices of this type')
    .option('--location <text>', 'only devices at this location')
    .option('--selector <selector>', 'only devices with these labels: site=north,floor!=2')
    .option('--ids <ids>', 'only these devices: ids, separated by commas')
    .option('--all', 'every device')
    .option('--rate <number>', 'devices in one second at most')
    .option(
      '--canary <share>',
      'devices that get it first: 5%, or a number; the rest follows when they succeeded',
    )
    .option(
      '--canary-wait <seconds>',
      'the rest follows after this time, although not every canary has answered',
    )
    .option('--abort-share <share>', 'ends it when more than this share fails: 10%')
    .addHelpText(
      'after',
      examples(
        'iotflow command fleet-send reboot --type thermostat',
        'iotflow command fleet-send reboot --selector site=north,floor!=2',
        `iotflow command fleet-send update '{"version":"2.1"}' --location "Building 3" --rate 20 --canary 5% --abort-share 10% --wait`,
      ),
    )
    .action(
      action<Options, [string, string | undefined]>(async ({ api, output }, options, command, params) => {
        const body = bodyOf(command, params, options)
        const server = await api()
        const sent = await server.request('POST', '/api/v1/admin/fleet/commands', { body })
        const sentence = `Fleet command ${sent.fleet_command_id} goes to ${sent.targets} devices.`
        if (!options.wait) {
          await output.result(sent, () => `${sentence}\n`)
          return
        }
        output.note(`${sentence} Ctrl-C ends the waiting, not the command.`)
        const ended = await watch(server, `/api/v1/admin/fleet/commands/${sent.fleet_command_id}`, output)
        if (output.isJson) await output.result(ended, () => '')
        const { targets, progress, status, reason } = ended
        if (progress.succeeded < targets)
          throw new CommandError(
            reason ??
              `The fleet command is ${status}: ${progress.succeeded} of ${targets} devices succeeded.`,
          )
      }),
    )
