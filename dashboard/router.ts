/**
 * The address of the page in the fragment: `#/devices/7?range=1h`. The page is one file at `/`, so the server needs no rule for
 * addresses that only the page knows, and it works unchanged below a path of a proxy.
 */
import { computed, signal } from '@preact/signals'

export interface Location {
  /** `/devices/7` */
  readonly path: string
  readonly query: URLSearchParams
}

const read = (): Location => {
  const [path = '', query = ''] = location.hash.replace(/^#/, '').split('?', 2)
  return { path: path.startsWith('/') ? path : '/', query: new URLSearchParams(query) }
}

const current = signal(read())

/** Where the user is. */
export const place = computed(() => current.value)

addEventListener('hashchange', () => {
  current.value = read()
})

const searchOf = (query: Readonly<Record<string, string | number | undefined>>) => {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== '') search.set(name, String(value))
  const text = search.toString()
  return text === '' ? '' : `?${text}`
}

/** The address of a page for a link: `href('/devices', { status: 'active' })`. Empty values are left out. */
export const href = (path: string, query: Readonly<Record<string, string | number | undefined>> = {}) =>
  `#${path}${searchOf(query)}`

/** Goes to a page. */
export function navigate(
  path: string,
  query: Readonly<Record<string, string | number | undefined>> = {},
): void {
  location.hash = href(path, query)
}

/** Changes the query of the address without a new entry in the history, for filters and ranges. */
export function replaceQuery(query: Readonly<Record<string, string | number | undefined>>): void {
  history.replaceState(null, '', href(current.value.path, query))
  current.value = read()
}

/** A part of an address that somebody typed may have a percent sign that encodes nothing. */
const decoded = (part: string) => {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** The parameters of a path that fits a pattern, `/devices/:id`; undefined when it does not fit. */
export function match(pattern: string, path: string): Readonly<Record<string, string>> | undefined {
  const [names, parts] = [pattern.split('/'), path.split('/')]
  if (names.length !== parts.length) return undefined
  const parameters: Record<string, string> = {}
  for (const [i, name] of names.entries()) {
    const part = parts[i] ?? ''
    if (name.startsWith(':') && part !== '') parameters[name.slice(1)] = decoded(part)
    else if (name !== part) return undefined
  }
  return parameters
}
