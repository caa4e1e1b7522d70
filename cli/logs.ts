/** `iotflow logs`: what the server has written, and with -f what it writes from now on. */
import { createReadStream, existsSync } from 'node:fs'
import { open, readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Command, Option } from 'commander'
import { logFile, logFolder } from '../local/log-file.ts'
import { findCompose } from '../local/stack/docker.ts'
import { CommandError, UsageError } from '../scripts/command.ts'
import { dataDirOf } from './connection.ts'
import { action, type Context, examples } from './context.ts'
import { refuseUrl } from './settings.ts'

interface Options {
  readonly follow?: boolean
  readonly lines: string
  readonly level: keyof typeof severity
  readonly service?: string
}

const severity = { debug: 10, info: 20, warn: 30, error: 40 } as const

/** Time between two looks at a file that is followed, ms. */
const lookEveryMs = 250

/** A line of the log as people read it; undefined when it is less severe than asked. */
const shown = (line: string, { level }: Options, isJson: boolean): string | undefined => {
  let entry: Record<string, unknown>
  try {
    entry = JSON.parse(line) as Record<string, unknown>
  } catch {
    return isJson ? undefined : `${line}\n`
  }
  const { time, level: own, msg, ...fields } = entry
  if ((severity[own as keyof typeof severity] ?? 99) < severity[level]) return undefined
  if (isJson) return `${line}\n`
  const rest = Object.entries(fields).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  return `${String(time)} ${String(own).toUpperCase().padEnd(5)} ${[String(msg), ...rest].join('  ')}\n`
}

/** The files of the log, oldest first. */
const filesOf = async (dataDir: string): Promise<string[]> => {
  const name = basename(logFile(dataDir))
  const numberOf = (file: string) => Number(file.slice(name.length + 1) || 0)
  const names = (await readdir(logFolder(dataDir))).filter((file) => file.startsWith(name))
  return names
    .sort((one, other) => numberOf(other) - numberOf(one))
    .map((file) => join(logFolder(dataDir), file))
}

/** Prints the last lines. @returns the size of the newest file when it was read, bytes. */
const printLast = async ({ output }: Context, dataDir: string, options: Options): Promise<number> => {
  const count = Number(options.lines)
  const last: string[] = []
  let end = 0
  for (const file of await filesOf(dataDir)) {
    end = (await stat(file)).size
    if (end === 0) continue
    for await (const line of createInterface({ input: createReadStream(file, { end: end - 1 }) })) {
      const text = shown(line, options, output.isJson)
      if (text === undefined) continue
      last.push(text)
      if (last.length > count) last.shift()
    }
  }
  await output.write(last.join(''))
  return end
}

/** Prints what is added, also to the next file after a rotation. */
const follow = async (
  { output }: Context,
  dataDir: string,
  from: number,
  options: Options,
): Promise<never> => {
  const path = logFile(dataDir)
  let file = await open(path)
  let at = from
  let rest = ''
  const buffer = Buffer.alloc(65_536)
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at)
    at += bytesRead
    const lines = (rest + buffer.toString('utf8', 0, bytesRead)).split('\n')
    rest = lines.pop() ?? ''
    await output.write(lines.flatMap((line) => shown(line, options, output.isJson) ?? []).join(''))
    if (bytesRead > 0) continue
    const isRotated = existsSync(path) && (await stat(path)).ino !== (await file.stat()).ino
    if (isRotated) {
      await file.close()
      file = await open(path)
      at = 0
    } else await sleep(lookEveryMs)
  }
}

const logsOfService = async (service: string, { follow: following, lines }: Options): Promise<void> => {
  // Compose needs its variables, but `logs` does not use them.
  const compose = await findCompose({})
  const code = await compose.show(['logs', '--tail', lines, ...(following ? ['--follow'] : []), service])
  if (code !== 0) throw new CommandError(`Docker shows no log of ${service}.`)
}

export const addLogs = (to: Command) =>
  to
    .command('logs')
    .description('shows the log of the server of the data directory, or of a service of npm run stack')
    .option('-f, --follow', 'shows what is added until Ctrl-C')
    .option('-n, --lines <number>', 'the last lines', '100')
    .addOption(
      new Option('--level <level>', 'lines at least as severe')
        .choices(Object.keys(severity))
        .default('debug'),
    )
    .option('--service <name>', 'a service in Docker: mosquitto, influxdb or redis')
    .addHelpText(
      'after',
      examples(
        'iotflow logs',
        'iotflow logs -f --level warn',
        'iotflow logs -n 20 --json',
        'iotflow logs --service mosquitto',
      ),
    )
    .action(
      action(async (context, options: Options) => {
        refuseUrl(context.options, 'This command')
        if (!/^\d{1,7}$/.test(options.lines)) throw new UsageError('--lines must be a whole number.')
        if (options.service !== undefined && options.service !== 'iotflow')
          return logsOfService(options.service, options)
        const dataDir = dataDirOf(context.options)
        if (!existsSync(logFile(dataDir)))
          throw new CommandError(`${dataDir} has no log: npm start writes one.`, 4)
        const end = await printLast(context, dataDir, options)
        if (options.follow) await follow(context, dataDir, end, options)
      }),
    )
