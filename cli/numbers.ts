/** Numbers in arguments. */
import { UsageError } from '../scripts/command.ts'

/** A whole number from 1. @param option its name, for the error. @throws {UsageError} */
export const wholeNumber = (option: string, text: string): number => {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new UsageError(`${option} must be a whole number from 1, not "${text}".`)
}
