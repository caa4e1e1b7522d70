/** `npm run dev:docker`: starts the stack, and `npm run dev` on it. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { devSettings, fault, parseUp, startStack } from './stack.ts'

const help = `The functions under serverless-offline, on InfluxDB, Mosquitto and Redis in Docker.

  npm run dev:docker [-- --profile grafana]   starts them as npm run stack -- up does, then what npm run dev does

Ctrl-C ends the functions; the servers go on until npm run stack -- down.
`

const runDev = (settings: Record<string, string>) =>
  new Promise<number>((resolve) => {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', fileURLToPath(new URL('./dev.ts', import.meta.url))],
      {
        stdio: 'inherit',
        env: { ...process.env, ...settings },
      },
    )
    // From the terminal it comes to both, and npm sends it once more: the other one knows that.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
    child.on('close', (code) => resolve(code ?? 1))
  })

const main = async () => {
  const args = process.argv.slice(2)
  if (args.some((argument) => argument === '--help' || argument === '-h')) {
    process.stdout.write(help)
    return
  }
  process.exitCode = await startStack(parseUp(args))
    .then((values) => runDev(devSettings(values)))
    .catch(fault)
}

await main()
