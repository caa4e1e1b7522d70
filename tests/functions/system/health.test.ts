import { describe, expect, it } from 'vitest'
import { health } from '../../../functions/system/health.ts'
import { createLog } from '../../../lib/log.ts'

/** What is under the function answers as told: a function alone, at each state of its servers. */
const healthOf = async (state: {
  registry?: boolean
  store?: boolean
  spool?: boolean
  queries?: boolean
  plain?: boolean
  jumpMs?: number
  arrivalAheadMs?: number
  host?: string
  path?: string
}) => {
  const {
    registry = true,
    store = true,
    spool = false,
    queries = true,
    plain = false,
    jumpMs,
    arrivalAheadMs = -1000,
    host = 'localhost',
    path = '/health?detailed=true',
  } = state
  const failing = () => Promise.reject(new Error('secret of a server'))
  const app = health({
    log: createLog('silent'),
    access: { isAdmin: async () => false } as never,
    registry: registry ? async () => undefined : failing,
    telemetry: {
      check: store ? async () => {} : failing,
      checkQueries: queries ? async () => {} : failing,
      acceptsDuringOutage: async () => spool,
      lastArrival: store ? async () => Date.now() + arrivalAheadMs : failing,
    },
    clock: {
      jump: jumpMs === undefined ? undefined : { by: jumpMs, at: Date.parse('2026-03-01T12:00:00Z') },
    },
    warnings: plain ? { transport: 'no TLS' } : {},
    showChecks: true,
  })
  const answer = await app.request(path, { headers: { Host: host } })
  return {
    code: answer.status,
    retryAfter: answer.headers.get('retry-after'),
    ...((await answer.json()) as object),
  }
}

describe('health', () => {
  it('is healthy when every server answers', async () => {
    expect(await healthOf({})).toMatchObject({
      code: 200,
      status: 'healthy',
      checks: { registry: { status: 'ok' }, telemetry: { status: 'ok' } },
    })
  })

  it('is degraded while the store is unavailable and readings are spooled', async () => {
    expect(await healthOf({ store: false, spool: true })).toMatchObject({
      code: 200,
      status: 'degraded',
      retryAfter: null,
      checks: {
        telemetry: { status: 'warning', message: 'the store cannot be used; readings wait in the spool' },
      },
    })
  })

  it('is degraded while readings are taken but cannot be read', async () => {
    expect(await healthOf({ queries: false })).toMatchObject({
      code: 200,
      status: 'degraded',
      checks: {
        telemetry: { status: 'ok' },
        queries: { status: 'warning', message: 'stored readings cannot be read' },
      },
    })
  })

  it.each([{ store: false }, { registry: false }])(
    'is unhealthy when no telemetry can be accepted: %o',
    async (state) => {
      const answer = await healthOf(state)
      expect(answer).toMatchObject({ code: 503, status: 'unhealthy', retryAfter: '15' })
      expect(JSON.stringify(answer)).not.toContain('secret')
    },
  )

  it('names a jump of the clock of the server', async () => {
    expect(await healthOf({ jumpMs: -3_600_000 })).toMatchObject({
      code: 200,
      status: 'degraded',
      checks: {
        clock: {
          status: 'warning',
          message: 'the clock of this server went back by 3600 s, noticed at 2026-03-01T12:00:00Z',
        },
      },
    })
  })

  it('tells that messages have arrived in the future, as after a clock was set back', async () => {
    const answer = await healthOf({ arrivalAheadMs: 7_200_000 })
    expect(answer).toMatchObject({ status: 'degraded', checks: { clock: { status: 'warning' } } })
    expect(JSON.stringify(answer)).toContain('was ahead before')
    expect(await healthOf({ arrivalAheadMs: 2000 })).toMatchObject({ status: 'healthy' })
  })

  it('shows its checks without a credential only to callers who name a loopback host', async () => {
    expect(await healthOf({ host: '127.0.0.1:5000' })).toHaveProperty('checks')
    expect(await healthOf({ host: 'evil.example' })).not.toHaveProperty('checks')
  })

  it('is told in detail under its older name', async () => {
    expect(await healthOf({ path: '/status' })).toHaveProperty('checks')
    expect(await healthOf({ path: '/status/' })).toHaveProperty('checks')
    expect(await healthOf({ path: '/status', host: 'evil.example' })).not.toHaveProperty('checks')
    expect(await healthOf({ path: '/health' })).not.toHaveProperty('checks')
  })

  it('is degraded while a warning is shown to operators', async () => {
    expect(await healthOf({ plain: true })).toMatchObject({ code: 200, status: 'degraded' })
  })
})
