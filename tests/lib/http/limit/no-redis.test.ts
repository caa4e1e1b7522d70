import { expect, it } from 'vitest'
import { createClient } from '../../../../lib/http/limit/no-redis.ts'

it('the Redis client of the cloud bundles refuses, and names the setting to use', () => {
  expect(() => createClient()).toThrow(/UPSTASH_REDIS_REST_URL/)
})
