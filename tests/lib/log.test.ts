import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { AppError } from '../../lib/errors.ts'
import { createLog } from '../../lib/log.ts'

const logged = (level: Parameters<typeof createLog>[0], use: (log: ReturnType<typeof createLog>) => void) => {
  let text = ''
  const log = createLog(level, (lines) => {
    text += lines
  })
  use(log)
  log.flush()
  return {
    text,
    lines:
      text === ''
        ? []
        : text
            .trimEnd()
            .split('\n')
            .map((line) => JSON.parse(line)),
  }
}

describe('a log line', () => {
  it('is one line of JSON with time, level and message', () => {
    const { lines, text } = logged('info', (log) =>
      log.info('request', { path: '/a\nb', count: 5n, nothing: undefined }),
    )
    expect(text.endsWith('\n')).toBe(true)
    expect(lines).toEqual([
      {
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        level: 'info',
        msg: 'request',
        path: '/a\nb',
        count: '5',
      },
    ])
  })

  it.each([
    ['debug', 4],
    ['info', 3],
    ['warn', 2],
    ['error', 1],
    ['silent', 0],
  ] as const)('is written at level %s and above', (level, count) => {
    const { lines } = logged(level, (log) => {
      for (const name of ['debug', 'info', 'warn', 'error'] as const) {
        expect(log.enabled(name)).toBe(['debug', 'info', 'warn', 'error'].indexOf(name) >= 4 - count)
        log[name]('text')
      }
    })
    expect(lines).toHaveLength(count)
  })

  it.each([
    'api_key',
    'apiKey',
    'X-API-Key',
    'authorization',
    'password',
    'token',
    'secret',
    'cookie',
    'payload',
    'ADMIN_TOKEN',
  ])('never holds the value of %s', (name) => {
    const { text } = logged('info', (log) =>
      log.info('text', { [name]: 'hunter2', deeper: { list: [{ [name]: 'hunter2' }] } }),
    )
    expect(text).not.toContain('hunter2')
    expect(text).toContain('[redacted]')
  })

  it.each([{ api_key: 'hunter2' }, { path: '/a', 'X-Token': 'hunter2' }])(
    'never holds a secret beside plain values: %o',
    (fields) => {
      const { text, lines } = logged('info', (log) => log.info('text', fields))
      expect(text).not.toContain('hunter2')
      expect(Object.keys(lines[0])).toEqual(['time', 'level', 'msg', ...Object.keys(fields)])
    },
  )

  it('never holds a secret that a function makes', () => {
    const secret = Object.assign(() => undefined, { toJSON: () => ({ token: 'hunter2' }) })
    expect(logged('info', (log) => log.info('text', { secret, made: secret })).text).not.toContain('hunter2')
  })

  it('has the time at which it was logged', () => {
    vi.useFakeTimers({ toFake: ['Date'], now: 1_760_000_000_000 })
    try {
      const { lines } = logged('info', (log) => {
        log.info('first')
        log.info('second')
        vi.setSystemTime(1_760_000_000_001)
        log.info('third')
      })
      const [first, second] = ['2025-10-09T08:53:20.000Z', '2025-10-09T08:53:20.001Z']
      expect(lines.map(({ time }) => time)).toEqual([first, first, second])
    } finally {
      vi.useRealTimers()
    }
  })

  it('has the name, the code and the place of an error, and not its message', () => {
    const cause = Object.assign(new Error('INSERT INTO devices VALUES (hunter2)'), { code: 'SQLITE_FULL' })
    const { text, lines } = logged('info', (log) =>
      log.error('failed', { error: new AppError('UNAVAILABLE', 'hunter2', { cause }), nested: { cause } }),
    )
    expect(text).not.toMatch(/hunter2|INSERT|node_modules/)
    expect(lines[0].error).toMatchObject({
      name: 'AppError',
      code: 'UNAVAILABLE',
      cause: { code: 'SQLITE_FULL' },
    })
  })

  it('keeps its order among many that are written at once', async () => {
    const written: string[] = []
    const log = createLog('info', (lines) => written.push(lines))
    for (let i = 0; i < 2000; i += 1) log.info('text', { i, filler: 'x'.repeat(50) })
    await new Promise((resolve) => setImmediate(resolve))
    const lines = written
      .join('')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).i)
    expect(lines).toEqual(Array.from({ length: 2000 }, (_, i) => i))
    expect(written.length).toBeLessThan(20)
  })
})

describe('a log whose lines may wait', () => {
  const restMs = 20
  const open = () => {
    const written: string[][] = []
    const log = createLog(
      'debug',
      (lines) =>
        written.push(
          lines
            .trimEnd()
            .split('\n')
            .map((line) => JSON.parse(line).msg),
        ),
      restMs,
    )
    return { written, log }
  }
  const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
  afterEach(() => void vi.useRealTimers())

  it('writes those of several turns of the event loop together', async () => {
    const { written, log } = open()
    log.info('first')
    await turn()
    log.debug('second')
    await turn()
    vi.advanceTimersByTime(restMs - 1)
    expect(written).toEqual([])
    vi.advanceTimersByTime(1)
    expect(written).toEqual([['first', 'second']])
    log.info('third')
    vi.advanceTimersByTime(restMs)
    expect(written.slice(1)).toEqual([['third']])
  })

  it('does not let warnings wait, nor what came before them', async () => {
    const { written, log } = open()
    log.info('first')
    await turn()
    log.warn('second')
    log.info('third')
    await turn()
    expect(written).toEqual([['first', 'second', 'third']])
    vi.advanceTimersByTime(restMs)
    expect(written).toHaveLength(1)
    log.info('fourth')
    await turn()
    expect(written).toHaveLength(1)
    vi.advanceTimersByTime(restMs)
    expect(written.slice(1)).toEqual([['fourth']])
  })

  it('waits for as long after lines that were many', () => {
    const { written, log } = open()
    log.info('first')
    vi.advanceTimersByTime(restMs - 1)
    log.flush()
    log.info('second')
    vi.advanceTimersByTime(restMs - 1)
    expect(written).toEqual([['first']])
    vi.advanceTimersByTime(1)
    expect(written.slice(1)).toEqual([['second']])
  })

  it('writes all at its end', () => {
    const { written, log } = open()
    log.info('first')
    log.flush()
    expect(written).toEqual([['first']])
  })
})
