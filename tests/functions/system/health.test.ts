import { describe, expect, it } from 'vitest'
import { health } from '../../../functions/system/health.ts'
import { createLog } from '../../../lib/log.ts'

/** What is under the function answers as told: a function alone, at each state of its servers. */
const healthOf = async (state: { registry?: boolean; store?: boolean; spool?: boolean; plain?: boolean }) => {
  const { registry = true, store = true, spool = false, plain = false } = state
  const away = () => Promise.reject(new Error('secret of a server'))
  const app = health({
    log: createLog('silent'),
    gate: { isAdmin: async () => false } as never,
    registry: registry ? async () => undefined : away,
    telemetry: { check: store ? async () => {} : away, keeps: async () => spool },
    warnings: plain ? { transport: 'no TLS' } : {},
    showChecks: true,
  })
  const answer = await app.request('/health?detailed=true')
  return {
    code: answer.status,
    retryAfter: answer.headers.get('retry-after'),
    ...((await answer.json()) as object),
  }
}

describe('health', () => {
  it('is whole when every server answers', async () => {
    expect(await healthOf({})).toMatchObject({
      code: 200,
      status: 'healthy',
      checks: { registry: { status: 'ok' }, telemetry: { status: 'ok' } },
    })
  })

  it('is impaired while the store is away and readings are spooled', async () => {
    expect(await healthOf({ store: false, spool: true })).toMatchObject({
      code: 200,
      status: 'degraded',
      retryAfter: null,
      checks: {
        telemetry: { status: 'warning', message: 'the store cannot be used; readings wait in the spool' },
      },
    })
  })

  it.each([{ store: false }, { registry: false }])('is gone when nothing can be taken: %o', async (state) => {
    const answer = await healthOf(state)
    expect(answer).toMatchObject({ code: 503, status: 'unhealthy', retryAfter: '15' })
    expect(JSON.stringify(answer)).not.toContain('secret')
  })

  it('names what an operator should know', async () => {
    expect(await healthOf({ plain: true })).toMatchObject({ code: 200, status: 'degraded' })
  })
})
