/** Parts of libraries that the functions in the cloud never run: their bundles get a stub in place of each. */
import { readFile } from 'node:fs/promises'
import type { Plugin } from 'esbuild'

/** What a stub does when it is called: most are not, and say so. */
type Called = 'throws' | 'returns undefined'

const unused: readonly { readonly files: RegExp; readonly called: Called }[] = [
  // Every schema of zod carries what makes a JSON Schema of it; only the OpenAPI document needs one, and a build writes that.
  { files: /\/zod\/v4\/core\/(?:json-schema-processors|to-json-schema)\.js$/, called: 'returns undefined' },
  // The client speaks version 2 of the protocol, which is JSON.
  {
    files:
      /\/hrana-client\/lib-esm\/(?:(?:http|shared)\/protobuf_\w+|encoding\/protobuf\/\w+|http\/cursor)\.js$/,
    called: 'throws',
  },
  // The queries name their tables: nothing reads relations. Migrations run at the deployment.
  {
    files: /\/drizzle-orm\/(?:relations|sqlite-core\/query-builders\/query|(?:libsql\/)?migrator)\.js$/,
    called: 'throws',
  },
  { files: /\/drizzle-orm\/sqlite-core\/columns\/(?:custom|numeric)\.js$/, called: 'throws' },
  // Asked of every part of a statement: whether it is an enumeration of PostgreSQL.
  { files: /\/drizzle-orm\/pg-core\/columns\/enum\.js$/, called: 'returns undefined' },
]

/** Names that the text of an ES module exports. */
const exportsOf = (text: string): string[] => [
  ...[...text.matchAll(/^export (?:async )?(?:const|let|class|function\*?) ([\w$]+)/gm)].map(
    ([, name = '']) => name,
  ),
  ...[...text.matchAll(/^export \{([^}]*)\}/gm)]
    .flatMap(([, names = '']) => names.split(','))
    .map((one) => one.trim().replace(/^.* as /, ''))
    .filter((name) => name !== ''),
]

/** A function, and not an arrow function: some of the names stand for classes. */
const stubOf = (names: readonly string[], called: Called) => `
function unused() { ${called === 'throws' ? 'throw new Error("This is not in the bundles of the cloud.")' : ''} }
export { ${names.map((name) => `unused as ${name}`).join(', ')} }`

/** The limits count in sliding windows; the library is one file with the scripts of every algorithm. */
const usedScript = 'slidingWindowLimitScript'
const noScript = 'return redis.error_reply("This is not in the bundles of the cloud.")'

const withoutUnusedScripts = (text: string): string => {
  if (!text.includes(`var ${usedScript} =`))
    throw new Error(`@upstash/ratelimit has no ${usedScript} any more.`)
  return text.replaceAll(/^var (\w+Script\d?) = `[^`]*`;$/gm, (whole, name: string) =>
    name === usedScript ? whole : `var ${name} = '${noScript}';`,
  )
}

export const withoutUnusedModules: Plugin = {
  name: 'without-unused-modules',
  setup({ onLoad }) {
    onLoad({ filter: /\/@upstash\/ratelimit\/dist\/index\.mjs$/ }, async ({ path }) => ({
      contents: withoutUnusedScripts(await readFile(path, 'utf8')),
    }))
    for (const { files, called } of unused)
      onLoad({ filter: files }, async ({ path }) => ({
        contents: stubOf(exportsOf(await readFile(path, 'utf8')), called),
      }))
  },
}
