/** Labels of devices as people type them: `site=north`, one in a line. */

export type Labels = Readonly<Record<string, string>>

const key = /^[A-Za-z0-9](?:[A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?$/
const value = /^(?:[A-Za-z0-9](?:[A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?)?$/

/** `site=north`; a label without a value is its key alone. */
export const labelText = (name: string, text: string) => (text === '' ? name : `${name}=${text}`)

/** Each label in a line of its own, in the order of their keys. */
export const labelLines = (labels: Labels) =>
  Object.keys(labels)
    .sort()
    .map((name) => labelText(name, labels[name] ?? ''))
    .join('\n')

export interface ParsedLabels {
  readonly labels: Labels
  /** What is wrong with the first line that is no label. */
  readonly error: string | undefined
}

/** Reads labels from lines; commas separate them, too. */
export function parseLabels(text: string): ParsedLabels {
  const labels: Record<string, string> = {}
  for (const line of text.split(/[\n,]/).map((part) => part.trim())) {
    if (line === '') continue
    const [name = '', ...rest] = line.split('=').map((part) => part.trim())
    const text = rest.join('=')
    if (!key.test(name) || !value.test(text))
      return {
        labels,
        error: `“${line}” is no label: write site=north, with letters, digits and . _ / - only.`,
      }
    if (name in labels) return { labels, error: `“${name}” is there twice.` }
    labels[name] = text
  }
  return { labels, error: undefined }
}

/** What has to be sent to make `after` of `before`: the server merges labels, and null removes one. */
export const labelChanges = (before: Labels, after: Labels): Readonly<Record<string, string | null>> => ({
  ...Object.fromEntries(Object.entries(after).filter(([name, text]) => before[name] !== text)),
  ...Object.fromEntries(
    Object.keys(before)
      .filter((name) => !(name in after))
      .map((name) => [name, null]),
  ),
})
