/** `iotflow dashboard`: a link that opens the dashboard and signs in. */
import type { Command } from 'commander'
import { CommandError } from '../scripts/command.ts'
import { notFound } from './api.ts'
import { action, examples } from './context.ts'

export const addDashboard = (to: Command) =>
  to
    .command('dashboard')
    .description('prints a link that opens the dashboard; it signs in once, within five minutes')
    .addHelpText('after', examples('iotflow dashboard', 'iotflow dashboard --json'))
    .action(
      action(async ({ api, output }) => {
        const server = await api()
        const answer = await server.request('POST', '/api/v1/admin/session-codes').catch((error: unknown) => {
          throw error instanceof CommandError && error.exitCode === notFound
            ? new CommandError(
                `Open ${server.url}/ and sign in with the admin token: links are for this computer only.`,
              )
            : error
        })
        const link = `${server.url}/#code=${answer.code}`
        await output.result({ link, valid_s: answer.valid_s }, () => `${link}\n`)
      }),
    )
