/** The part of the composition root that opens the registry, and counts requests. */
import { randomUUID } from 'node:crypto'
import type { Limiter } from './http/limit/limiter.ts'
import { createMemoryLimiter } from './http/limit/memory.ts'
import { createRedisLimiter } from './http/limit/redis.ts'
import { createUpstashLimiter } from './http/limit/upstash.ts'
import { openRegistry, type Registry } from './registry/db.ts'
import { createLeases, type Leases } from './registry/leases.ts'
import { closers, config, log, once } from './runtime-base.ts'

export function registry(): Promise<Registry> {
  return once('registry', async () => {
    const value = await openRegistry(config().database)
    closers.push(() => value.close())
    return value
  })
}

export function leases(): Promise<Leases> {
  return once('leases', async () => {
    // A file belongs to one process at a time, which may take over the leases of the process before it.
    const holder = config().database.url.startsWith('file:') ? 'this machine' : randomUUID()
    return createLeases({ db: (await registry()).db, holder })
  })
}

export function limiter(): Limiter {
  return once('limiter', () => {
    const { upstash, redisUrl, stage } = config()
    const fallback = createMemoryLimiter()
    const shared = { prefix: `iotflow:${stage}`, fallback, log: log() }
    if (upstash !== undefined) return createUpstashLimiter({ ...upstash, ...shared })
    if (redisUrl === undefined) return fallback
    const value = createRedisLimiter({ url: redisUrl, ...shared })
    closers.push(() => value.close())
    return value
  })
}
