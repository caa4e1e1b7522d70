/** What every command gets: the global options, the server, and the way to print. */
import type { Command } from 'commander'
import { Api } from './api.ts'
import { connect } from './connection.ts'
import { Output } from './output.ts'

export interface GlobalOptions {
  readonly url?: string
  readonly tokenFile?: string
  readonly dataDir?: string
  readonly json?: boolean
}

export const addGlobalOptions = (program: Command): Command =>
  program
    .option('--url <url>', 'the server; by default the one that runs on DATA_DIR')
    .option('--token-file <file>', 'holds the admin token; by default ADMIN_TOKEN, or the token in DATA_DIR')
    .option('--data-dir <folder>', 'the data directory; by default DATA_DIR')
    .option('--json', 'prints JSON for programs')

/** Examples below the help of a command. */
export const examples = (...lines: readonly string[]): string =>
  `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`

export class Context {
  readonly options: GlobalOptions
  readonly output: Output
  #api: Promise<Api> | undefined

  constructor(options: GlobalOptions) {
    this.options = options
    this.output = new Output(options.json ?? false)
  }

  /** The API of the server, with the admin token. @throws {CommandError} when there is no server or no token. */
  readonly api = (): Promise<Api> => {
    this.#api ??= connect(this.options).then(
      ({ url, token }) => new Api({ url, headers: { Authorization: `Bearer ${token}` } }),
    )
    return this.#api
  }
}

/**
 * The action of a command.
 * @param run gets the context, the options, and the arguments in their order.
 */
export const action =
  <Options extends object, Args extends readonly unknown[] = readonly string[]>(
    run: (context: Context, options: Options & GlobalOptions, ...args: Args) => Promise<void>,
  ) =>
  async (...given: unknown[]): Promise<void> => {
    const command = given.at(-1) as Command
    const options = command.optsWithGlobals() as Options & GlobalOptions
    await run(new Context(options), options, ...(given.slice(0, -2) as unknown as Args))
  }
