/**
 * Regular expressions of InfluxQL for field keys. They name keys in selects: a pattern brings no column for a key that does not
 * exist, and no name can become code, since everything but ASCII letters, digits and `_` is written as its number.
 */

const escapeChar = (char: string): string =>
  /\w/.test(char) ? char : `\\x{${(char.codePointAt(0) ?? 0).toString(16)}}`

const escapeText = (text: string): string => [...text.toWellFormed()].map(escapeChar).join('')

/** A pattern for any of these keys. */
export const anyOfKeys = (keys: readonly string[]): string => `/(?s)^(?:${keys.map(escapeText).join('|')})$/`

interface Node {
  readonly next: Map<string, Node>
  /** Whether a text ends here, or a prefix: then everything that begins so is meant. */
  end: 'text' | 'prefix' | undefined
}

const newNode = (): Node => ({ next: new Map(), end: undefined })

const insert = (root: Node, text: string, end: 'text' | 'prefix'): void => {
  let node = root
  for (const char of text.toWellFormed()) {
    const next = node.next.get(char) ?? newNode()
    node.next.set(char, next)
    node = next
  }
  if (node.end !== 'prefix') node.end = end
}

const bar = '|'
/** What follows a name with values of every other kind than text. */
const kindsOfNoText = '\\x{7c}[bk]'

/**
 * What follows so that the whole is none of the texts below this node; undefined when nothing does. Nothing is read behind the
 * first difference: InfluxDB compiles a pattern for each query, and one that reads every key to its end takes 0.4 ms, not 0.15.
 */
const othersBelow = ({ next, end }: Node, of: 'all' | 'no text'): string | undefined => {
  if (end === 'prefix') return undefined
  const options = end === 'text' ? [] : ['$']
  const chars = [...next.keys(), ...(of === 'all' ? [] : [bar])]
  const other = chars.length === 0 ? '.' : `[^${chars.map(escapeChar).join('')}]`
  if (of === 'all') options.push(other)
  else options.push(`${other}[^${escapeChar(bar)}]*(?:${kindsOfNoText})?$`, `${kindsOfNoText}$`)
  for (const [char, node] of next) {
    const others = othersBelow(node, of)
    if (others !== undefined) options.push(escapeChar(char) + others)
  }
  return `(?:${options.join('|')})`
}

/**
 * A pattern for all keys that are none of these texts and begin with none of these prefixes.
 * @param of also leaves out keys whose values are texts.
 */
export function otherKeys(
  texts: Iterable<string>,
  prefixes: Iterable<string>,
  of: 'all' | 'no text' = 'all',
): string {
  const root = newNode()
  for (const text of texts) insert(root, text, 'text')
  for (const prefix of prefixes) insert(root, prefix, 'prefix')
  const others = othersBelow(root, of)
  return `/(?s)^${others ?? '[^\\x{0}-\\x{10ffff}]'}/`
}
