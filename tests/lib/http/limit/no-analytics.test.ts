import { expect, it } from 'vitest'
import { Analytics } from '../../../../lib/http/limit/no-analytics.ts'

it('has nothing that could be sent', () => {
  expect(Object.getOwnPropertyNames(Analytics.prototype)).toEqual(['constructor'])
})
