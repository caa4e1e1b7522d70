import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { loadFunctions } from '../../local/functions.ts'
import { mark } from '../../scripts/client-types.ts'
import { openApiDocument } from '../../scripts/openapi-document.ts'

it('the types of the client are made from this OpenAPI document: `npm run api:generate` makes them again', async () => {
  const [first] = readFileSync('client/schema.d.ts', 'utf8').split('\n')
  expect(first).toBe(mark(await openApiDocument(await loadFunctions())))
})

it('the package offers the client by its name, and no install script reports who installs it', () => {
  const { exports, scarfSettings } = JSON.parse(readFileSync('package.json', 'utf8')) as Record<
    string,
    unknown
  >
  expect(exports).toMatchObject({ './client': { default: './client/client.mjs' } })
  expect(scarfSettings).toEqual({ enabled: false })
})
