/** The settings of this machine, for commands that work on the data directory itself. */
import { type Config, loadConfig, loadEnvFile } from '../lib/config.ts'
import { UsageError } from '../scripts/command.ts'
import type { GlobalOptions } from './context.ts'

/** @throws {UsageError} with --url. */
export function refuseUrl({ url }: GlobalOptions, what: string): void {
  if (url !== undefined)
    throw new UsageError(`${what} works on the data directory of this machine: run it there, without --url.`)
}

/**
 * @param what the command does, for the error: `A backup`.
 * @throws {UsageError} with --url, {ConfigError} for bad settings.
 */
export function localSettings(options: GlobalOptions, what: string): Config {
  refuseUrl(options, what)
  loadEnvFile('.env')
  return loadConfig({
    ...process.env,
    ...(options.dataDir === undefined ? {} : { DATA_DIR: options.dataDir }),
  })
}
