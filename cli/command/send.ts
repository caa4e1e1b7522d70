/** `iotflow command send`: a command to one device, on request with what becomes of it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { CommandError } from '../../scripts/command.ts'
import type { Answer, Api } from '../api.ts'
import { action, examples } from '../context.ts'
import type { Output } from '../output.ts'
import { addSendOptions, lookEveryMs, newCommandBody, type SendOptions } from './command-options.ts'

/** When the command entered each of its states, oldest first. */
const history = (command: Answer): [time: string, state: string][] => {
  const states: [string | null, string][] = [
    [command.issued_at, 'queued'],
    [command.sent_at, 'sent'],
    [command.acknowledged_at, 'acknowledged'],
    [command.finished_at, command.status],
  ]
  return states.filter((one): one is [string, string] => one[0] !== null)
}

/** Shows each state as it comes. @returns the command when it has ended. */
const watch = async (server: Api, path: string, output: Output): Promise<Answer> => {
  for (let shown = 0; ; ) {
    const { command } = await server.get(path)
    const states = history(command)
    if (!output.isJson)
      for (const [time, state] of states.slice(shown)) await output.write(`${time}  ${state}\n`)
    shown = states.length
    if (command.finished_at !== null) return command
    await sleep(lookEveryMs)
  }
}

export const addSendCommand = (to: Command) =>
  addSendOptions(
    to
      .command('send')
      .description('sends a command to a device; one that is offline gets it when it connects')
      .argument('<device>', 'its id or its name')
      .argument('<command>', 'what it is to do')
      .argument('[params]', 'JSON for the device'),
  )
    .addHelpText(
      'after',
      examples(
        'iotflow command send greenhouse-1 reboot',
        `iotflow command send 7 set_interval '{"seconds":30}' --wait`,
        `iotflow command send 7 update '{"version":"2.1"}' --channel firmware --ttl 600`,
      ),
    )
    .action(
      action<SendOptions, [string, string, string | undefined]>(
        async ({ api, output }, options, name, command, params) => {
          const body = newCommandBody(command, params, options)
          const server = await api()
          const { id } = await server.device(name)
          const path = `/api/v1/admin/devices/${id}/commands`
          const sent = await server.request('POST', path, { body })
          if (!options.wait) {
            await output.result(sent, () => `Command ${sent.command_id} is ${sent.status}.\n`)
            return
          }
          output.note(
            `Command ${sent.command_id} is ${sent.status}; Ctrl-C ends the waiting, not the command.`,
          )
          const ended = await watch(server, `${path}/${sent.command_id}`, output)
          await output.result(ended, () => (ended.result === null ? '' : `${JSON.stringify(ended.result)}\n`))
          if (ended.status !== 'succeeded') throw new CommandError(`The command is ${ended.status}.`)
        },
      ),
    )
