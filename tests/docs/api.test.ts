import { expect, it } from 'vitest'
import { loadFunctions } from '../../local/functions.ts'
import { withApiTable } from '../../scripts/api-table.ts'
import { loadOperations } from '../../scripts/openapi/operations.ts'
import { textOf } from '../support/documents.ts'

it('docs/api.md has a row for every address: `npm run api:generate` writes them', async () => {
  const text = textOf('docs/api.md')
  expect(withApiTable(text, await loadOperations(await loadFunctions()))).toBe(text)
  expect(text).toContain('| POST `/api/v1/devices/register` | enrolment | Registers a device |')
})
