/** `npm run trace`: finds the places in the sources that log lines of a deployed stage name by their places in a bundle. */
import { readFile } from 'node:fs/promises'
import { SourceMap } from 'node:module'
import { resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { parseOptions, runCommand } from './command.ts'

const help = `Finds places in the sources: the field "at" of an error in the log of a deployed stage names places in a bundle.

  npm run trace -- mqtt-authorize.mjs:12:3456 …    prints the place in the sources of each
  npm run trace -- --maps <folder> …               source maps of the build that was deployed, by default dist/cloud
  npm run trace < log-lines.txt                    prints the text with the places of the sources in it

A build writes its source maps beside the bundles. They are not deployed: keep those of what you deploy.
`

const placeInBundle = /(?<bundle>[\w-]+\.mjs):(?<line>\d+):(?<column>\d+)/g

/**
 * @param folder of the source maps.
 * @returns the text with each place in a bundle replaced by the one in the sources; a place without a map stays.
 */
export async function traceText(given: string, folder: string): Promise<string> {
  const places = [...given.matchAll(placeInBundle)]
  const maps = new Map<string, SourceMap | undefined>()
  for (const { groups: { bundle = '' } = {} } of places) {
    if (maps.has(bundle)) continue
    const content = await readFile(`${folder}/${bundle}.map`, 'utf8').catch(() => undefined)
    maps.set(bundle, content === undefined ? undefined : new SourceMap(JSON.parse(content)))
  }
  return given.replaceAll(placeInBundle, (place, bundle: string, line: string, column: string) => {
    // Stack traces count from 1, source maps from 0.
    const entry = maps.get(bundle)?.findEntry(Number(line) - 1, Number(column) - 1)
    if (entry === undefined || !('originalSource' in entry)) return place
    const source = entry.originalSource.replace(/^(?:\.\.\/)+|^function:/g, '')
    return `${source}:${entry.originalLine + 1}:${entry.originalColumn + 1}`
  })
}

const trace = async () => {
  const { values, positionals } = parseOptions({
    allowPositionals: true,
    options: { maps: { type: 'string', default: 'dist/cloud' }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const given = positionals.length > 0 ? `${positionals.join('\n')}\n` : await text(process.stdin)
  process.stdout.write(await traceText(given, resolve(values.maps)))
  return 0
}

export const main = () => runCommand(trace)
