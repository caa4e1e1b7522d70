/** `npm run api:generate`: writes what is made from the routes: the types of the client, and the table in docs/api.md. */
import { readFile, writeFile } from 'node:fs/promises'
import { root } from '../lib/root.ts'
import { loadFunctions } from '../local/functions.ts'
import { withApiTable } from './api-table.ts'
import { clientTypes } from './client-types.ts'
import { asksForHelp, parseOptions, runCommand } from './command.ts'
import { loadOperations } from './openapi/operations.ts'
import { openApiDocument } from './openapi-document.ts'

const help = `Writes what is made from the routes of the functions.

  npm run api:generate              writes client/schema.d.ts and the table in docs/api.md
  npm run api:generate -- --help    prints this help
`

export const main = () =>
  runCommand(async () => {
    if (asksForHelp(process.argv.slice(2))) {
      process.stdout.write(help)
      return 0
    }
    parseOptions({ options: {} })
    const functions = await loadFunctions()
    const page = new URL('docs/api.md', root)
    await writeFile(page, withApiTable(await readFile(page, 'utf8'), await loadOperations(functions)))
    await writeFile(new URL('client/schema.d.ts', root), await clientTypes(await openApiDocument(functions)))
    process.stdout.write('docs/api.md and client/schema.d.ts are written.\n')
    return 0
  })
