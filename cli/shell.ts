/** `iotflow shell`: JavaScript with the API of the server at hand, or with the services while no server runs. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type REPLServer, start } from 'node:repl'
import type { Command } from 'commander'
import { createLog } from '../lib/log.ts'
import * as runtime from '../lib/runtime.ts'
import { isDataDirLocked, lockDataDir } from '../local/data-dir.ts'
import { prepareDatabases } from '../local/databases.ts'
import { dataDirOf } from './connection.ts'
import { action, type Context, examples } from './context.ts'
import { localSettings } from './settings.ts'

/** What the shell offers, and how it ends. */
interface Opened {
  readonly names: Readonly<Record<string, unknown>>
  readonly greeting: string
  end(): Promise<void>
}

const openApi = async (context: Context): Promise<Opened> => {
  const api = await context.api()
  return {
    names: {
      api,
      get: (path: string, query?: Record<string, string>) => api.get(path, query),
      post: (path: string, body?: unknown) => api.request('POST', path, { body }),
      put: (path: string, body?: unknown) => api.request('PUT', path, { body }),
      del: (path: string) => api.request('DELETE', path),
    },
    greeting: `Connected with ${api.url}. There are: get(path), post(path, body), put(path, body), del(path).\nTry: await get('/api/v1/admin/devices')`,
    end: async () => {},
  }
}

const openServices = async (context: Context): Promise<Opened> => {
  const config = localSettings(context.options, 'The shell')
  const unlock = await lockDataDir(config.dataDir)
  await prepareDatabases(config, createLog('silent'))
  runtime.configure({ config })
  const names = {
    config,
    devices: await runtime.devices(),
    telemetry: await runtime.telemetry(),
    configurations: await runtime.configurations(),
    deadLetters: await runtime.deadLetters(),
    registry: (await runtime.registry()).db,
  }
  return {
    names,
    greeting: `No server runs, so that the services are here: ${Object.keys(names).join(', ')}.\nTry: await devices.list({ limit: 10 })`,
    async end() {
      await runtime.close()
      unlock()
    },
  }
}

const keepHistory = async (repl: REPLServer, dataDir: string): Promise<void> => {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  await new Promise<void>((resolve, reject) => {
    repl.setupHistory(join(dataDir, 'shell-history'), (error) => (error ? reject(error) : resolve()))
  })
}

export const addShell = (to: Command) =>
  to
    .command('shell')
    .description('JavaScript with the API of the server at hand, or with the services while no server runs')
    .addHelpText('after', examples('iotflow shell', 'echo "(await get(\'/health\')).status" | iotflow shell'))
    .action(
      action(async (context) => {
        const dataDir = dataDirOf(context.options)
        const isRemote = context.options.url !== undefined || (await isDataDirLocked(dataDir))
        const opened = await (isRemote ? openApi : openServices)(context)
        context.output.note(`${opened.greeting}\n.exit ends it.`)
        const repl = start({ prompt: '' })
        const ended = new Promise((resolve) => repl.once('exit', resolve))
        Object.assign(repl.context, opened.names)
        if (process.stdin.isTTY) {
          // What is typed before the history is read would not be kept.
          await keepHistory(repl, dataDir)
          repl.setPrompt('iotflow> ')
          repl.displayPrompt()
        }
        await ended
        await opened.end()
      }),
    )
