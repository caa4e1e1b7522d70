/** The command line of every program here: one way to read its options, to report what is wrong, and to end. */
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { Command, CommanderError } from 'commander'

/** A wrong option or argument; the message is one sentence. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A command that could not do its work; the message is one sentence. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly exitCode: number

  /** @param exitCode 1 and above; 2 is that of a {@link UsageError}. */
  constructor(message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

/** A program with subcommands, whose errors are thrown instead of printed. @param name as users type it. */
export const newProgram = (name: string): Command =>
  new Command(name)
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
    .configureHelp({ showGlobalOptions: true, sortSubcommands: true })
    .helpOption('-h, --help', 'prints this help')
    .helpCommand(false)

/**
 * Runs the subcommand that the arguments name, and waits for it.
 * @returns the exit code: 0, or 2 when only the help could be shown because a subcommand is missing.
 * @throws {UsageError} for arguments that are wrong, and whatever the subcommand throws.
 */
export async function runProgram(program: Command, args: readonly string[]): Promise<number> {
  try {
    await program.parseAsync([...args], { from: 'user' })
    return 0
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.code === 'commander.help') return 2
    if (error.exitCode === 0) return 0
    const sentence = error.message.replace(/^error: /, '').replaceAll('\n', ' ')
    throw new UsageError(`${sentence.replace(/\.$/, '')}; --help shows what there is.`)
  }
}

/**
 * The options of a command, as `node:util` parses them.
 * @param config with `args`, or without for those of this process.
 * @throws {UsageError} for an unknown option, or one without its value.
 */
export function parseOptions<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config)
  } catch (error) {
    const [first = ''] = (error as Error).message.split(/\n|\. /)
    throw new UsageError(`${first.replace(/\.$/, '')}; --help shows what there is.`)
  }
}

/** True when `--help` or `-h` stands anywhere in the arguments. */
export const asksForHelp = (args: readonly string[]): boolean =>
  args.some((argument) => argument === '--help' || argument === '-h')

/** @returns the exit code for an error: 2 for a wrong argument, that of a {@link CommandError}, 1 for everything else. */
export const exitCodeOf = (error: unknown): number => {
  if (error instanceof CommandError) return error.exitCode
  return error instanceof Error && error.name === 'UsageError' ? 2 : 1
}

/** Faults of the code: their message alone does not say where they come from. */
const isFault = (error: Error) => /^(?:Type|Reference|Range|Syntax)Error$/.test(error.name)

/** Shows an error by its sentence, and a fault of the code with its stack. */
const describe = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  return isFault(error) ? (error.stack ?? error.message) : error.message
}

/**
 * Runs a command: prints the sentence of its error, and sets the exit code of this process.
 * @param command answers its exit code; nothing means 0.
 */
export async function runCommand(
  command: () => Promise<number | undefined> | number | undefined,
  exitCode = exitCodeOf,
): Promise<void> {
  try {
    process.exitCode = (await command()) ?? 0
  } catch (error) {
    process.stderr.write(`${describe(error)}\n`)
    process.exitCode = exitCode(error)
  }
}

/**
 * Parses a number.
 * @throws {UsageError} when the text is no number from `min` to `max`, both included.
 */
export function numberArgument(
  flag: string,
  text: string,
  { min, max, whole = false }: { min: number; max: number; whole?: boolean },
): number {
  const value = /^(?:\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max && (!whole || Number.isInteger(value))) return value
  throw new UsageError(
    `${flag} must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}, not "${text}".`,
  )
}
