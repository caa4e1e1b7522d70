/** Replaces the Redis client in the bundles of the cloud, which would grow by half with it. */

/** @throws {Error} always. */
export function createClient(): never {
  throw new Error(
    'REDIS_URL is for instances that run all the time: in the cloud use UPSTASH_REDIS_REST_URL.',
  )
}
