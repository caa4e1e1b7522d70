/** The table of every address in docs/api.md, made from the routes of the functions. */
import type { Access } from '../lib/http/route.ts'
import type { Operation } from './openapi/operations.ts'
import { tags } from './openapi/vocabulary.ts'

const credentials: Readonly<Record<Access, string>> = {
  none: '',
  device: 'device',
  admin: 'admin',
  read: 'read',
  enrol: 'enrolment',
  metrics: 'admin, or `METRICS_TOKEN`',
}

/** Pages and their parts are no part of the API. */
const isPage = ({ path }: Operation) => /^\/(?:$|docs\/|assets\/)/.test(path)

const row = ({ method, path, access, summary }: Operation) =>
  `| ${method} \`${path}\` | ${credentials[access]} | ${summary} |`

/** In Markdown: a table for each group of operations. */
export function apiTable(operations: readonly Operation[]): string {
  const shown = operations.filter((operation) => !isPage(operation))
  return Object.entries(tags)
    .map(([area, { name }]) => {
      const rows = shown.filter(({ functionName }) => functionName.startsWith(`${area}-`)).map(row)
      return `### ${name}\n\n| Address | Credential | |\n| --- | --- | --- |\n${rows.join('\n')}\n`
    })
    .join('\n')
}

const [start, end] = ['<!-- npm run api:generate makes this table -->\n', '<!-- end of the table -->']

/** The document with its table replaced. @throws {Error} for a document without the marks of the table. */
export function withApiTable(document: string, operations: readonly Operation[]): string {
  const [before, rest] = document.split(start)
  const after = rest?.split(end)[1]
  if (before === undefined || after === undefined) throw new Error('The marks of the table are missing.')
  return `${before}${start}\n${apiTable(operations)}\n${end}${after}`
}
