/** The benchmark of the queue with few messages: the deployed function stores them all, and one that cannot is told of. */
import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { defaultConnections, type Load, measureQueue, type Row } from '../../benchmarks/queue.ts'
import { root } from '../../lib/root.ts'
import { describeWithSqld, findSqld } from '../support/sqld.ts'

it.each(['docs/scaling.md', 'local/stack/compose.yaml'])(
  'measures a server with as many connections as %s gives one',
  async (file) => {
    const text = await readFile(new URL(file, root), 'utf8')
    const set = [...text.matchAll(/SQLD_MAX_CONCURRENT_CONNECTIONS(?:=|: ')(\d+)/g)]
    expect(set.map(([, number]) => Number(number))).toEqual([defaultConnections])
  },
)

describeWithSqld('the benchmark of the queue', () => {
  const load: Load = {
    containers: [1, 2],
    batch: 10,
    messages: 60,
    devices: 5,
    connections: defaultConnections,
    seconds: 60,
  }
  const measure = async (settings: Record<string, string> = {}, more: Partial<Load> = {}) => {
    process.env.SQLD = findSqld()
    const rows: Row[] = []
    let log = ''
    const ending = await measureQueue(
      { ...load, ...more },
      (row) => rows.push(row),
      (lines) => {
        log += lines
      },
      settings,
    ).then(
      () => undefined,
      (error: Error) => error.message,
    )
    return { rows, log, ending }
  }

  it('stores every message, with any number of containers', async () => {
    const { rows, log, ending } = await measure()
    expect(ending).toBeUndefined()
    expect(log).toBe('')
    expect(rows.map(({ containers, errors }) => ({ containers, errors }))).toEqual([
      { containers: 1, errors: 0 },
      { containers: 2, errors: 0 },
    ])
    for (const { rate, calls } of rows) {
      expect(rate).toBeGreaterThan(0)
      expect(calls.length).toBeGreaterThanOrEqual(load.messages / load.batch)
    }
  })

  it('ends at the first call that fails, and the log names the place in the sources', async () => {
    const { rows, log, ending } = await measure({ DATABASE_URL: 'http://127.0.0.1:9' })
    expect(ending).toMatch(/^The first call of a container failed/)
    expect(rows).toEqual([])
    expect(log).toMatch(/"at":"lib\/libsql\/server\.ts:\d+"/)
  })

  it('ends with a message when a run takes too long', async () => {
    const { rows, ending } = await measure({}, { seconds: 0.001 })
    expect(ending).toBe(
      'The run with 1 containers was not at its end after 0.001 s: 60 of 60 messages were not stored, 0 were delivered again.',
    )
    expect(rows).toEqual([])
  })

  it('counts messages that were not stored as errors', async () => {
    const { rows } = await measure({ TOPIC_ROOT: 'another' })
    expect(rows.map(({ errors }) => errors)).toEqual([load.messages, load.messages])
  })
})
