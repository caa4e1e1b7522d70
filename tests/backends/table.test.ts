import { describe, expect, it } from 'vitest'
import { requiredBackends } from '../support/backends.ts'
import { failuresOf, type Report, rowsOf, secondTriesOf, tableOf } from './table.ts'

const test = (titles: string[], status: string, said?: string) => ({
  ancestorTitles: titles,
  title: 'a test',
  status,
  failureMessages: said === undefined ? [] : [said],
})
const report = (...assertionResults: ReturnType<typeof test>[]): Report => ({
  testResults: [{ name: '/tests/a.test.ts', status: 'passed', message: '', assertionResults }],
})

describe('the table of the backends', () => {
  const all = report(
    test(['on a real InfluxDB', 'telemetry store contract: influxdb'], 'pending'),
    test(['on a real InfluxDB', 'telemetry store contract: influxdb', 'aggregation'], 'skipped'),
    test(['telemetry store contract: embedded'], 'passed'),
    test(['telemetry store contract: embedded'], 'passed'),
    test(['telemetry store contract: embedded', 'aggregation', 'of one field'], 'passed'),
    test(['limiter contract: in memory'], 'passed'),
    test(['limiter contract: in memory'], 'failed', 'Error: one too many\n    at line 1'),
    test(['something else'], 'failed', 'Error: There is no redis: apt-get install redis-server.'),
  )

  it('has a row for each describe block of each contract on each backend', () => {
    expect(tableOf(rowsOf(all))).toBe(
      [
        'contract         backend    group                      tests',
        'limiter          in memory  (itself)                   1 passed, 1 FAILED',
        'telemetry store  embedded   (itself)                   2 passed',
        '                            aggregation, of one field  1 passed',
        '                 influxdb   (itself)                   not there',
        '                            aggregation                not there',
        '',
      ].join('\n'),
    )
  })

  it('lists every failure, also of a required server that is missing and of a file that cannot run', () => {
    const broken = {
      name: '/tests/b.test.ts',
      status: 'failed',
      message: 'no such file\nat',
      assertionResults: [],
    }
    expect(failuresOf({ testResults: [...all.testResults, broken] })).toEqual([
      'limiter contract: in memory, a test: Error: one too many',
      'something else, a test: Error: There is no redis: apt-get install redis-server.',
      '/tests/b.test.ts: no such file',
    ])
  })

  it('lists the tests that passed only when they were tried again', () => {
    const unsure = report(test(['a race'], 'passed', 'Error: too early\n    at line 1'))
    expect(secondTriesOf({ testResults: [...all.testResults, ...unsure.testResults] })).toEqual([
      'a race, a test: Error: too early',
    ])
  })
})

describe('REQUIRE_BACKENDS', () => {
  it('accepts nothing, 1 for all, or names', () => {
    expect([...requiredBackends('')]).toEqual([])
    expect([...requiredBackends('1')]).toEqual(
      expect.arrayContaining(['influxdb', 'mosquitto', 'redis', 'sqld', 'strace']),
    )
    expect([...requiredBackends('redis, sqld')]).toEqual(['redis', 'sqld'])
  })

  it('refuses an unknown name', () => {
    expect(() => requiredBackends('redis,postgres')).toThrow(
      'REQUIRE_BACKENDS knows no postgres: it takes 1 or',
    )
    expect(() => requiredBackends('redis,')).toThrow()
    expect(() => requiredBackends('constructor')).toThrow()
  })
})
