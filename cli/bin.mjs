#!/usr/bin/env node
/** The command `iotflow` of the package: the same as `npm run manage --`. */
process.argv.splice(2, 0, 'cli/iotflow.ts')
await import('../scripts/run.mjs')
