import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  compilePolicies,
  devicePolicies,
  type PolicyDocument,
  type PolicyStatement,
  refusedClientPolicies,
} from '../../../lib/mqtt/policy.ts'
import { defaultTopics, TopicTree } from '../../../lib/mqtt/topics.ts'

const arn = 'arn:aws:iot:local:0:'
const plain = { will: false, persistent: false }
const full = { will: true, persistent: true }

const policyOf = (...statements: unknown[]) =>
  compilePolicies([{ Version: '2012-10-17', Statement: statements } as PolicyDocument])
const allow = (Action: string, Resource: string | string[], rest: object = {}): PolicyStatement => ({
  Effect: 'Allow',
  Action,
  Resource,
  ...rest,
})
const deny = (Action: string, Resource: string | string[], rest: object = {}) => ({
  ...allow(Action, Resource, rest),
  Effect: 'Deny',
})
const attributes = (...names: string[]) => ({
  Condition: { 'ForAllValues:StringEquals': { 'iot:ConnectAttributes': names } },
})

describe('the policy of a device', () => {
  const policy = compilePolicies(devicePolicies(defaultTopics.of(7), 'esp32_7'))
  const own = 'iotflow/devices/7'

  test('lets exactly this client id connect, with a will and a session too', () => {
    expect(policy.connect('esp32_7', plain)).toBe(true)
    expect(policy.connect('esp32_7', full)).toBe(true)
  })

  test.each(['', '7', 'esp32_7-a', 'esp32_70', 'Esp32_7', 'esp32_', '*'])(
    '%j does not connect',
    (clientId) => {
      expect(policy.connect(clientId, plain)).toBe(false)
    },
  )

  test('of a refused client id lets nobody connect', () => {
    const refused = compilePolicies(refusedClientPolicies)
    expect(refused.connect('7', plain)).toBe(false)
    expect(refused.publish(`${own}/telemetry`)).toBe(false)
  })

  test('allows a device to publish to its own topics', () => {
    for (const topic of [
      'telemetry',
      'telemetry/a',
      'telemetry/a/b',
      'commands/response',
      'commands/c1/response',
      'config/reported',
    ]) {
      expect(policy.publish(`${own}/${topic}`), topic).toBe(true)
      expect(policy.retain(`${own}/${topic}`), topic).toBe(false)
    }
    for (const topic of ['status', 'status/online', 'status/offline', 'status/heartbeat']) {
      expect(policy.publish(`${own}/${topic}`), topic).toBe(true)
      expect(policy.retain(`${own}/${topic}`), topic).toBe(true)
    }
  })

  test.each([
    `${own}/commands`,
    `${own}/config`,
    `${own}/commands/a`,
    `${own}/commands/a/b/response`,
    `${own}/commands/a/response/b`,
    `${own}/status/other`,
    `${own}/telemetries`,
    `${own}/telemetry/+`,
    `${own}/telemetry/#`,
    `${own}/telemetry/a\0`,
    'iotflow/devices/70/telemetry',
    'iotflow/devices/8/telemetry',
    'iotflow/fleet/notices/x',
    '$SYS/x',
    '$aws/things/7/shadow/update',
    '',
    `x${own}/telemetry`,
  ])('does not publish to %j', (topic) => {
    expect(policy.publish(topic)).toBe(false)
  })

  test('allows the filters that lie within its own topics', () => {
    for (const filter of [
      'commands',
      'commands/#',
      'commands/+',
      'commands/control',
      'commands/+/x',
      'config',
    ])
      expect(policy.subscribe(`${own}/${filter}`), filter).toBe(true)
    for (const filter of ['#', '+', 'all'])
      expect(policy.subscribe(`iotflow/fleet/notices/${filter}`)).toBe(true)
    const refused = ['#', '+/#', `${own}/#`, `${own}/+`, `${own}/+/control`, `${own}/commandsx`, '$SYS/#']
    refused.push('iotflow/devices/+/commands', 'iotflow/devices/8/commands', 'iotflow/#', '$aws/#')
    refused.push(`$share/g/${own}/commands`, 'iotflow/fleet/#', 'iotflow/fleet/+', `${own}/config/#`)
    refused.push(`${own}/commands/a#`, `${own}/commands/#/a`, `${own}/telemetry`, `${own}/status`)
    for (const filter of refused) expect(policy.subscribe(filter), filter).toBe(false)
  })

  test('allows a device to receive its own topics only', () => {
    for (const topic of ['commands', 'commands/x', 'commands/response/x', 'config']) {
      expect(policy.receive(`${own}/${topic}`), topic).toBe(true)
      expect(policy.receive(`iotflow/devices/8/${topic}`), topic).toBe(false)
    }
    expect(policy.receive('iotflow/fleet/notices/a')).toBe(true)
    for (const topic of ['telemetry', 'commands/response', 'commands/c1/response'])
      expect(policy.receive(`${own}/${topic}`), topic).toBe(false)
    expect(policy.receive('iotflow/fleet/other')).toBe(false)
  })

  test('is within the limits of AWS IoT with a long ARN, the longest root and the largest id', () => {
    const longArn = 'arn:aws-us-gov:iot:us-gov-northwest-1:123456789012:'.padEnd(64, 'x')
    const documents = devicePolicies(
      new TopicTree('r'.repeat(32)).of(999_999_999_999_999),
      `999999999999999-${'x'.repeat(112)}`,
      longArn,
    )
    expect(documents.length).toBeLessThanOrEqual(10)
    for (const document of documents) expect(JSON.stringify(document).length).toBeLessThanOrEqual(2048)
    const topic = `${'r'.repeat(32)}/devices/999999999999999/telemetry`
    expect(compilePolicies(documents, longArn).publish(topic)).toBe(true)
  })

  test('allows nothing at a broker of another account', () => {
    const elsewhere = compilePolicies(devicePolicies(defaultTopics.of(7), '7', 'arn:aws:iot:eu-west-1:1:'))
    expect(elsewhere.publish(`${own}/telemetry`)).toBe(false)
    expect(elsewhere.connect('7', plain)).toBe(false)
  })

  test('means the same as JSON text', () => {
    const text = compilePolicies(
      devicePolicies(defaultTopics.of(7), '7').map((document) => JSON.stringify(document)),
    )
    expect(text.publish(`${own}/telemetry`)).toBe(true)
    expect(text.publish('iotflow/devices/8/telemetry')).toBe(false)
  })
})

describe('evaluation', () => {
  test('without an Allow nothing is allowed', () => {
    const policy = compilePolicies([])
    expect(policy.publish('a')).toBe(false)
    expect(policy.connect('a', plain)).toBe(false)
  })

  test('a Deny wins over an Allow, whatever their order', () => {
    const statements = [allow('iot:*', '*'), deny('iot:Publish', `${arn}topic/secret/*`)]
    for (const policy of [policyOf(...statements), policyOf(...statements.toReversed())]) {
      expect(policy.publish('open')).toBe(true)
      expect(policy.publish('secret/x')).toBe(false)
      expect(policy.receive('secret/x')).toBe(true)
    }
  })

  test('actions may have wildcards, and their case does not matter', () => {
    expect(policyOf(allow('IOT:publish', '*')).publish('a')).toBe(true)
    expect(policyOf(allow('iot:Pub*', '*')).publish('a')).toBe(true)
    expect(policyOf(allow('*', '*')).retain('a')).toBe(true)
    expect(policyOf(allow('iot:Publish', '*')).retain('a')).toBe(false)
    expect(policyOf(allow('iot:Publish', '*')).subscribe('a')).toBe(false)
  })

  test('* and ? are wildcards, + and # are not, and all else is literal', () => {
    const policy = policyOf(
      allow('iot:Publish', [`${arn}topic/a.b`, `${arn}topic/x?z`, `${arn}topic/m*n`]),
      allow('iot:Subscribe', [`${arn}topicfilter/a/+`, `${arn}topicfilter/b/#`]),
    )
    expect(policy.publish('a.b')).toBe(true)
    expect(policy.publish('a-b')).toBe(false)
    expect(policy.publish('xyz')).toBe(true)
    expect(policy.publish('x😀z')).toBe(true)
    expect(policy.publish('xz')).toBe(false)
    expect(policy.publish('mn')).toBe(true)
    expect(policy.publish('m/\n/n')).toBe(true)
    expect(policy.subscribe('a/+')).toBe(true)
    expect(policy.subscribe('a/b')).toBe(false)
    expect(policy.subscribe('b/#')).toBe(true)
    expect(policy.subscribe('b/c')).toBe(false)
  })

  test('names and filters are validated even where everything is allowed', () => {
    const policy = policyOf(allow('*', '*'))
    expect(policy.publish('a/+')).toBe(false)
    expect(policy.publish('')).toBe(false)
    expect(policy.retain('#')).toBe(false)
    expect(policy.subscribe('a+')).toBe(false)
    expect(policy.subscribe('a/#/b')).toBe(false)
  })
})

describe('the conditions of Connect', () => {
  const client = `${arn}client/a`

  test('an Allow without a condition covers neither wills nor sessions', () => {
    const policy = policyOf(allow('iot:Connect', client))
    expect(policy.connect('a', plain)).toBe(true)
    expect(policy.connect('a', { will: true, persistent: false })).toBe(false)
    expect(policy.connect('a', { will: false, persistent: true })).toBe(false)
  })

  test('an Allow covers the attributes that its condition names', () => {
    const policy = policyOf(allow('iot:Connect', client, attributes('LastWill')))
    expect(policy.connect('a', plain)).toBe(true)
    expect(policy.connect('a', { will: true, persistent: false })).toBe(true)
    expect(policy.connect('a', { will: false, persistent: true })).toBe(false)
    expect(policy.connect('a', full)).toBe(false)
  })

  test('two conditions with one attribute each do not cover both', () => {
    const policy = policyOf(
      allow('iot:Connect', client, attributes('LastWill')),
      allow('iot:Connect', client, attributes('PersistentConnect')),
    )
    expect(policy.connect('a', full)).toBe(false)
    expect(policy.connect('a', { will: true, persistent: false })).toBe(true)
  })

  test('a Deny without a condition covers every connection', () => {
    const policy = policyOf(allow('iot:Connect', client, attributes('LastWill')), deny('iot:Connect', client))
    expect(policy.connect('a', plain)).toBe(false)
    expect(policy.connect('a', { will: true, persistent: false })).toBe(false)
  })

  test.each([
    ['another operator', { Condition: { StringEquals: { 'iot:ConnectAttributes': 'LastWill' } } }],
    ['another key', { Condition: { 'ForAllValues:StringEquals': { 'iot:Domain': 'x' } } }],
    ['a second operator', { Condition: { ...attributes('LastWill').Condition, Bool: { a: 'true' } } }],
    [
      'a second key',
      { Condition: { 'ForAllValues:StringEquals': { 'iot:ConnectAttributes': [], 'aws:x': [] } } },
    ],
    ['no condition at all', { Condition: null }],
    ['an element nobody knows', { NotResource: 'x' }],
  ])('%s: the Allow does not apply, the Deny does', (_name, rest) => {
    expect(policyOf(allow('iot:Connect', client, rest)).connect('a', plain)).toBe(false)
    const denied = policyOf(allow('iot:Connect', client), deny('iot:Connect', client, rest))
    expect(denied.connect('a', plain)).toBe(false)
  })

  test('a condition on Publish is not supported', () => {
    expect(policyOf(allow('iot:Publish', '*', attributes('LastWill'))).publish('a')).toBe(false)
    const denied = policyOf(allow('iot:Publish', '*'), deny('iot:Publish', '*', attributes('LastWill')))
    expect(denied.publish('a')).toBe(false)
  })
})

describe('an invalid policy denies', () => {
  test.each<[string, unknown]>([
    ['broken JSON', '{'],
    ['a document that is null', null],
    ['no statements', { Version: '2012-10-17' }],
    ['a statement that is text', { Statement: ['allow'] }],
    ['an unknown effect', { Statement: [{ Effect: 'allow', Action: 'iot:*', Resource: '*' }] }],
    ['a Deny with no action', { Statement: [{ Effect: 'Deny', Resource: '*' }] }],
    ['a Deny with a variable', { Statement: [deny('iot:*', '${iot:ClientId}')] }],
    [
      'a Deny of an action with a letter that only equals an s without case',
      { Statement: [deny('iot:Publiſh', '*')] },
    ],
    ['a Deny of a resource with half a character', { Statement: [deny('iot:*', '\ud83d')] }],
    ['a Deny with no resource', { Statement: [{ Effect: 'Deny', Action: 'iot:*' }] }],
  ])('%s', (_name, document) => {
    const everything = { Version: '2012-10-17', Statement: [allow('iot:*', '*')] } as PolicyDocument
    expect(compilePolicies([everything]).publish('a')).toBe(true)
    expect(compilePolicies([everything, document as PolicyDocument]).publish('a')).toBe(false)
    expect(compilePolicies([everything, document as PolicyDocument]).connect('a', plain)).toBe(false)
  })

  test('an Allow with a policy variable', () => {
    expect(policyOf(allow('iot:Publish', `${arn}topic/\${iot:ClientId}`)).publish('${iot:ClientId}')).toBe(
      false,
    )
  })
})

test('a policy knows the documents that it is from', () => {
  const documents = (id: number) => devicePolicies(defaultTopics.of(id), `${id}`)
  const policy = compilePolicies(documents(5))
  expect(policy.isFrom(documents(5))).toBe(true)
  expect(policy.isFrom(documents(5).map((document) => JSON.stringify(document)))).toBe(true)
  expect(policy.isFrom(documents(6))).toBe(false)
  expect(policy.isFrom(documents(5).slice(1))).toBe(false)
  expect(policy.isFrom([...documents(5), ...documents(5)])).toBe(false)
  expect(policy.isFrom(documents(5).reverse())).toBe(false)
  expect(policy.isFrom([])).toBe(false)
})

test('a topic of thousands of levels is decided as every other', () => {
  const policy = compilePolicies(devicePolicies(defaultTopics.of(5), '5'))
  const { commandsSubscribe } = defaultTopics.of(5)
  const levels = '/a'.repeat(30_000)
  expect(policy.publish(`${commandsSubscribe}${levels}`)).toBe(false)
  expect(policy.publish(`${commandsSubscribe}${levels}/response`)).toBe(false)
  expect(policy.publish(`${commandsSubscribe}/a/response`)).toBe(true)
})

test.each([
  ['a?c', 'a😀c', true],
  ['a??c', 'a😀c', false],
  ['*😀', '😀😀', true],
  ['*?😀', '😀😀', true],
  ['*??😀', '😀😀', false],
  ['*', 'a\u2028b', true],
  ['a*b*c', 'abcbc', true],
  ['a*b*c', 'acbcb', false],
])('the pattern %s and the topic %s: %s', (pattern, topic, fits) => {
  expect(policyOf(allow('iot:Publish', `${arn}topic/${pattern}`)).publish(topic)).toBe(fits)
})

/** A simple matcher of wildcards, recursive and one character at a time. */
const naiveWildcard = (pattern: string, text: string): boolean => {
  if (pattern === '') return text === ''
  if (pattern[0] === '*')
    return naiveWildcard(pattern.slice(1), text) || (text !== '' && naiveWildcard(pattern, text.slice(1)))
  return (
    text !== '' &&
    (pattern[0] === '?' || pattern[0] === text[0]) &&
    naiveWildcard(pattern.slice(1), text.slice(1))
  )
}

test('decisions are equal to those of a simple model', () => {
  const letters = fc.constantFrom('a', 'b', '/', '.', '(', '$')
  const name = fc.string({ unit: letters, minLength: 1, maxLength: 5 })
  const pattern = fc.string({
    unit: fc.oneof(letters, fc.constantFrom('*', '?')),
    minLength: 1,
    maxLength: 5,
  })
  const statement = fc.record({
    Effect: fc.constantFrom('Allow', 'Deny'),
    Action: fc.constantFrom('iot:Publish', 'iot:Receive', 'iot:*'),
    Resource: fc.array(
      pattern.map((text) => `${arn}topic/${text}`),
      { minLength: 1, maxLength: 3 },
    ),
  })
  let allowed = 0
  fc.assert(
    fc.property(fc.array(statement, { maxLength: 4 }), name, (statements, topic) => {
      const applies = (effect: string) =>
        statements.some(
          ({ Effect, Action, Resource }) =>
            Effect === effect &&
            Action !== 'iot:Receive' &&
            Resource.some((resource) => naiveWildcard(resource, `${arn}topic/${topic}`)),
        )
      const expected = applies('Allow') && !applies('Deny')
      if (expected) allowed++
      expect(policyOf(...statements).publish(topic)).toBe(expected)
    }),
    { numRuns: 3000 },
  )
  expect(allowed).toBeGreaterThan(20)
})
