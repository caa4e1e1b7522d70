/** `npm run dev:docker`: starts the stack in Docker, and `npm run dev` with it. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { root } from '../../lib/root.ts'
import { asksForHelp, runCommand } from '../../scripts/command.ts'
import { devSettings, parseUp, stackExitCode, startStack } from '../stack/stack.ts'

const help = `The functions under serverless-offline, with InfluxDB, Mosquitto and Redis in Docker.

  npm run dev:docker [-- --profile grafana]   starts the servers as npm run stack -- up does, then runs npm run dev

Ctrl-C ends the functions. The servers run until npm run stack -- down.
`

const runDev = (settings: Record<string, string>) =>
  new Promise<number>((resolve) => {
    const launcher = fileURLToPath(new URL('scripts/run.mjs', root))
    const child = spawn(process.execPath, [launcher, 'local/dev/dev.ts'], {
      stdio: 'inherit',
      env: { ...process.env, ...settings },
    })
    // The terminal sends Ctrl-C to both processes and npm sends it once more: the child ignores the second one.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
    child.on('close', (code) => resolve(code ?? 1))
  })

export const main = () =>
  runCommand(async () => {
    const args = process.argv.slice(2)
    if (!asksForHelp(args)) return runDev(devSettings(await startStack(parseUp(args))))
    process.stdout.write(help)
    return 0
  }, stackExitCode)
