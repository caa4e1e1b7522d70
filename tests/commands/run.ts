/** `npm run test:commands`: one command to many simulated devices, on request with kills of the server. */
import { numberArgument, parseOptions, runCommand } from '../../scripts/command.ts'
import { runCommandShow } from './show.ts'
import { formatVerdict } from './verdict.ts'

const help = `Sends one command to a fleet of simulated devices on a server of its own: 10 % are offline at first, 5 % never answer, 2 %
answer twice. Every state must be right, and no device may get the command again after the server had its answer.

  npm run test:commands                                  1,000 devices
  npm run test:commands -- --kills 20                    the server is killed with SIGKILL 20 times meanwhile
  npm run test:commands -- --devices 60 --kills 2        the short form, which is part of npm test

Exit code: 0 when all is right, 1 when not.
`

export const main = () =>
  runCommand(async () => {
    const { values } = parseOptions({
      options: {
        devices: { type: 'string', default: '1000' },
        kills: { type: 'string', default: '0' },
        help: { type: 'boolean', short: 'h' },
      },
    })
    if (values.help) {
      process.stdout.write(help)
      return 0
    }
    const verdict = await runCommandShow({
      devices: numberArgument('--devices', values.devices, { min: 20, max: 10_000, whole: true }),
      kills: numberArgument('--kills', values.kills, { min: 0, max: 1000, whole: true }),
      patienceS: 120,
      progress: (text) => void process.stderr.write(`${text}\n`),
    })
    process.stdout.write(`\n${formatVerdict(verdict)}`)
    return verdict.faults.length === 0 ? 0 : 1
  })
