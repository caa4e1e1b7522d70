/** Asks before something is lost. */
import { createInterface } from 'node:readline/promises'
import { CommandError, UsageError } from '../scripts/command.ts'

/**
 * Asks for a word to be typed; `--yes` answers in advance.
 * @throws {UsageError} where nobody can answer, {CommandError} for another answer.
 */
export async function confirm(question: string, word: string, yes: boolean | undefined): Promise<void> {
  if (yes) return
  if (!process.stdin.isTTY) throw new UsageError('Nobody can be asked here: --yes confirms it.')
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question(`${question}\nType ${word} to confirm: `)
  terminal.close()
  if (answer.trim() !== word) throw new CommandError('Nothing was changed.')
}
