import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  awsTopicMatcher,
  defaultTopics,
  isTopicFilter,
  isTopicName,
  TopicTree,
  topicMatcher,
} from '../../../lib/mqtt/topics.ts'

/** The definition of MQTT 3.1.1 §4.7, level by level and recursively. */
const naiveMatch = (filter: readonly string[], topic: readonly string[]): boolean => {
  const [first, ...restOfFilter] = filter
  if (first === undefined) return topic.length === 0
  if (first === '#') return restOfFilter.length === 0
  const [level, ...restOfTopic] = topic
  if (level === undefined) return false
  return (first === '+' || first === level) && naiveMatch(restOfFilter, restOfTopic)
}

const level = fc.constantFrom('a', 'b', '', '$x', '$')
const topicLevels = fc.array(level, { minLength: 1, maxLength: 4 })
const filterLevels = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, open]) => (open ? [...levels, '#'] : levels))

describe('device topics', () => {
  test('are those of the contract', () => {
    expect(defaultTopics.of(7)).toEqual({
      telemetryPublish: 'iotflow/devices/7/telemetry',
      statusPublish: 'iotflow/devices/7/status',
      statusOnline: 'iotflow/devices/7/status/online',
      statusOffline: 'iotflow/devices/7/status/offline',
      statusHeartbeat: 'iotflow/devices/7/status/heartbeat',
      commandsSubscribe: 'iotflow/devices/7/commands',
      commandsResponsePublish: 'iotflow/devices/7/commands/response',
      configSubscribe: 'iotflow/devices/7/config',
      configReportedPublish: 'iotflow/devices/7/config/reported',
      fleetNoticesSubscribe: 'iotflow/fleet/notices/#',
    })
  })

  test.each([
    ['iotflow/devices/7/telemetry', { deviceId: 7, kind: 'telemetry' }],
    ['iotflow/devices/7/telemetry/', { deviceId: 7, kind: 'telemetry' }],
    ['iotflow/devices/7/telemetry/sensors', { deviceId: 7, kind: 'telemetry', subtopic: 'sensors' }],
    ['iotflow/devices/7/telemetry/a/b', { deviceId: 7, kind: 'telemetry', subtopic: 'a/b' }],
    ['iotflow/devices/7/telemetry/a\nb', { deviceId: 7, kind: 'telemetry', subtopic: 'a\nb' }],
    ['iotflow/devices/7/status/online', { deviceId: 7, kind: 'status', subtopic: 'online' }],
    ['iotflow/devices/7/status', { deviceId: 7, kind: 'status' }],
    ['iotflow/devices/7/commands/response', { deviceId: 7, kind: 'commands/response' }],
    ['iotflow/devices/7/commands/c-1/response', { deviceId: 7, kind: 'commands/response', commandId: 'c-1' }],
    ['iotflow/devices/7/config/reported', { deviceId: 7, kind: 'config/reported' }],
    ['iotflow/devices/999999999999999/telemetry', { deviceId: 999999999999999, kind: 'telemetry' }],
  ])('%j is read', (topic, expected) => {
    expect(defaultTopics.parse(topic)).toEqual(expected)
  })

  test.each([
    'iotflow/devices/0/telemetry',
    'iotflow/devices/07/telemetry',
    'iotflow/devices/1000000000000000/telemetry',
    'iotflow/devices/7e2/telemetry',
    'iotflow/devices/7/telemetries',
    'iotflow/devices/7/commands//response',
    'iotflow/devices/7/commands/a/b/response',
    'iotflow/devices/7/status/gone',
    'iotflow/devices/7/status/online/x',
    'iotflow/devices/7/commands',
    'iotflow/devices/7/config',
    'iotflow/devices/7',
    'iotflow/devices//telemetry',
    '/iotflow/devices/7/telemetry',
    'x/iotflow/devices/7/telemetry',
    'iotflow/fleet/notices/x',
    '',
  ])('%j is none a device may publish to', (topic) => {
    expect(defaultTopics.parse(topic)).toBeUndefined()
  })

  test('of another root are other topics', () => {
    const dev = new TopicTree('iotflow-dev')
    const own = Object.values(dev.of(7))
    expect(own.map((topic) => topic.replace('iotflow-dev/', 'iotflow/'))).toEqual(
      Object.values(defaultTopics.of(7)),
    )
    expect(dev.parse('iotflow-dev/devices/7/telemetry')).toEqual({ deviceId: 7, kind: 'telemetry' })
    expect(dev.parse('iotflow/devices/7/telemetry')).toBeUndefined()
    for (const topic of own) expect(defaultTopics.parse(topic)).toBeUndefined()
  })

  test('have at most the seven slashes and 256 bytes of AWS IoT Core, with the longest root and ids', () => {
    const { commandsSubscribe, telemetryPublish } = new TopicTree('r'.repeat(32)).of(999_999_999_999_999)
    const answer = `${commandsSubscribe}/${'c'.repeat(128)}/response`
    expect(Buffer.byteLength(answer)).toBeLessThanOrEqual(256)
    expect(answer.split('/').length - 1).toBe(5)
    expect(telemetryPublish.split('/').length - 1).toBe(3)
  })
})

describe('names and filters', () => {
  test.each(['a', '/', 'a//b', '$SYS/x', 'a b', 'é', 'x'.repeat(65_535), 'é'.repeat(32_767)])(
    'name %#',
    (topic) => {
      expect(isTopicName(topic)).toBe(true)
      expect(isTopicFilter(topic)).toBe(true)
    },
  )

  test.each(['', 'a\0b', 'x'.repeat(65_536), 'é'.repeat(32_768), '€'.repeat(21_846)])(
    'neither name nor filter %#',
    (topic) => {
      expect(isTopicName(topic)).toBe(false)
      expect(isTopicFilter(topic)).toBe(false)
    },
  )

  test.each(['+', '#', 'a/#', '+/+', '/+', 'a/+/b/#', '/#', '$share/g/a/+'])('%j is a filter', (filter) => {
    expect(isTopicFilter(filter)).toBe(true)
    expect(isTopicName(filter)).toBe(false)
  })

  test.each(['a+', '+a', 'a/b+/c', '#/a', 'a#', 'a/#/b', 'a/#b', '##', '++', '+#', 'a/+#'])(
    '%j is no filter',
    (filter) => {
      expect(isTopicFilter(filter)).toBe(false)
    },
  )
})

describe('matching', () => {
  test.each([
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['a/#', 'ab', false],
    ['a/+', 'a', false],
    ['a/+', 'a/', true],
    ['+', '/a', false],
    ['+/+', '/a', true],
    ['#', '$SYS/x', false],
    ['+/x', '$SYS/x', false],
    ['$SYS/#', '$SYS/x', true],
    ['a/+/c', 'a/b/c', true],
    ['a/b', 'a/b/', false],
  ])('%j and %j: %s', (filter, topic, expected) => {
    expect(topicMatcher(filter)(topic)).toBe(expected)
  })

  test('is equal to the definition', () => {
    fc.assert(
      fc.property(filterLevels, topicLevels, (filter, topic) => {
        const hidden = topic[0]?.startsWith('$') && (filter[0] === '+' || filter[0] === '#')
        expect(topicMatcher(filter.join('/'))(topic.join('/'))).toBe(!hidden && naiveMatch(filter, topic))
      }),
      { numRuns: 2000 },
    )
  })

  test('as on AWS IoT Core is equal to the definition, except that # stands for one level at least', () => {
    fc.assert(
      fc.property(filterLevels, topicLevels, (filter, topic) => {
        const parent = filter.at(-1) === '#' && filter.length > 1 && topic.length === filter.length - 1
        const inMqtt = topicMatcher(filter.join('/'))(topic.join('/'))
        expect(awsTopicMatcher(filter.join('/'))(topic.join('/'))).toBe(inMqtt && !parent)
      }),
      { numRuns: 2000 },
    )
  })
})
