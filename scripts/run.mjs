/**
 * Runs a TypeScript program of this project in this process, built by esbuild:
 *
 *   node scripts/run.mjs <program.ts> [<argument>]...
 *   node scripts/run.mjs --build <program.ts>...        only builds, for a place where dist/ cannot be written later
 *
 * A program exports `main`, which is called here, so that tests can import the file without running it.
 */
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { BuildError, bundle, root } from './bundle.mjs'

const [, , first = '', ...args] = process.argv

const build = (program) =>
  bundle(program).catch((error) => {
    process.stderr.write(`${error instanceof BuildError ? error.message : error.stack}\n`)
    process.exit(1)
  })

if (first === '') {
  process.stderr.write('A program is missing: node scripts/run.mjs <program.ts> [<argument>]...\n')
  process.exitCode = 2
} else if (first === '--build') for (const program of args) await build(program)
else {
  // Stacks, in errors and in the log, name files and lines of TypeScript.
  process.setSourceMapsEnabled(true)
  // The SDK talks to a data plane of our own, whose support does not depend on the version of Node.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'
  const folder = await build(first)
  process.argv.splice(1, 2, resolve(root, first))
  const { main } = await import(pathToFileURL(join(folder, 'program.mjs')).href)
  await main?.()
}
