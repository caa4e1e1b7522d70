import { expect, it } from 'vitest'
import { defaultProvider } from '../../../lib/lambda/no-credential-search.ts'

it('the AWS SDK of the cloud bundles finds no credentials by itself, and names what is missing', async () => {
  await expect(defaultProvider()()).rejects.toThrow(/AWS_ACCESS_KEY_ID/)
})
