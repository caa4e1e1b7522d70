/** Finds the server of a command, and its admin token. No option takes the token itself: others could see it in the list of processes. */
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { loadEnvFile } from '../lib/config.ts'
import { isDataDirLocked } from '../local/data-dir.ts'
import { readServerFile } from '../local/server-file.ts'
import { CommandError, UsageError } from '../scripts/command.ts'
import type { GlobalOptions } from './context.ts'

export const noServer = 3

/** The token of the environment itself: one in `.env` belongs to the server of this folder, and is not sent to another one. */
const tokenOfEnvironment = process.env.ADMIN_TOKEN

export interface Target {
  /** Without a slash at its end. */
  readonly url: string
  readonly token: string
}

/** The data directory of the options or the settings, as an absolute path. */
export function dataDirOf({ dataDir }: GlobalOptions): string {
  loadEnvFile('.env')
  return resolve(dataDir ?? (process.env.DATA_DIR || '.iotflow'))
}

const readToken = async (file: string): Promise<string | undefined> => {
  const text = await readFile(file, 'utf8').catch(() => undefined)
  return text?.trim() || undefined
}

const localUrl = async (dataDir: string): Promise<string> => {
  if (!(await isDataDirLocked(dataDir)))
    throw new CommandError(
      `No server runs on ${dataDir}: start it with npm start, or name another one with --data-dir or --url.`,
      noServer,
    )
  const found = await readServerFile(dataDir)
  if (found?.url === undefined)
    throw new CommandError(`The process that uses ${dataDir} serves no HTTP, or is not ready yet.`, noServer)
  return found.url
}

const urlOf = (text: string): string => {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text))
    throw new UsageError(`--url must be an address such as https://iot.example.com, not "${text}".`)
  const { username, password } = new URL(text)
  if (username !== '' || password !== '')
    throw new UsageError('--url must not hold a name or a password: the server takes the admin token only.')
  return text.replace(/\/+$/, '')
}

/** The address of the server. @throws {CommandError} when no server runs, {UsageError} for a wrong option. */
export const serverUrl = async (options: GlobalOptions): Promise<string> =>
  options.url === undefined ? localUrl(dataDirOf(options)) : urlOf(options.url)

/** @throws {CommandError} when no server runs or there is no token, {UsageError} for a wrong option. */
export async function connect(options: GlobalOptions): Promise<Target> {
  const dataDir = dataDirOf(options)
  const url = await serverUrl(options)
  if (options.tokenFile !== undefined) {
    const token = await readToken(options.tokenFile)
    if (token === undefined)
      throw new UsageError(`--token-file: ${options.tokenFile} cannot be read, or is empty.`)
    return { url, token }
  }
  const token =
    options.url === undefined
      ? process.env.ADMIN_TOKEN || (await readToken(join(dataDir, 'admin-token')))
      : tokenOfEnvironment
  if (!token)
    throw new CommandError(
      'There is no admin token: set ADMIN_TOKEN, or name a file that holds it with --token-file.',
    )
  return { url, token }
}
