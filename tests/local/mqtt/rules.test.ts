import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { loadRules, parseRule } from '../../../local/mqtt/rules.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const folders: { remove(): Promise<void> }[] = []
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.remove()
})

const withFiles = async (files: Record<string, string>): Promise<string> => {
  const folder = await temporaryFolder()
  folders.push(folder)
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder.path, name), text)
  return folder.path
}

const message = {
  topic: 'iotflow/devices/7/telemetry/sensors',
  payload: new Uint8Array([0xff, 0x00, 0x7b]),
  clientId: '7-x',
  receivedAt: 1_700_000_000_123,
  messageId: 'id-1',
}

describe('the rules of iot-rules', () => {
  test('pass telemetry to its function as bytes', async () => {
    const rules = await loadRules(fileURLToPath(new URL('../../../iot-rules/', import.meta.url)))
    const rule = rules.find(({ name }) => name === 'telemetry_ingest')
    expect(rule?.functionName).toBe('telemetry-ingest')
    expect(rule?.filter).toBe('iotflow/devices/+/telemetry/#')
    expect(rule?.event(message)).toEqual({
      payload: '/wB7',
      topic: 'iotflow/devices/7/telemetry/sensors',
      client_id: '7-x',
      received_at: 1_700_000_000_123,
      message_id: 'id-1',
    })
    expect(rule?.matches('iotflow/devices/7/telemetry/a/b')).toBe(true)
    expect(rule?.matches('iotflow/devices/7/status/online')).toBe(false)
  })

  test('pass the correlation data of an answer, where it has some', async () => {
    const rules = await loadRules(fileURLToPath(new URL('../../../iot-rules/', import.meta.url)))
    const rule = rules.find(({ name }) => name === 'commands_response')
    const answer = { ...message, topic: 'iotflow/devices/7/commands/response' }
    expect(rule?.event(answer)).not.toHaveProperty('correlation_data')
    expect(rule?.event({ ...answer, correlationData: Buffer.from('id') })).toMatchObject({
      correlation_data: 'aWQ=',
    })
  })

  test.each([
    ['telemetry', 'telemetry-ingest'],
    ['telemetry/', 'telemetry-ingest'],
    ['telemetry/a/b', 'telemetry-ingest'],
    ['status', 'mqtt-presence'],
    ['status/online', 'mqtt-presence'],
    ['config/reported', 'mqtt-report-configuration'],
    ['commands/response', 'commands-record-answer'],
    ['commands/c1/response', 'commands-record-answer'],
  ])('call one function for %s', async (topic, functionName) => {
    const rules = await loadRules(fileURLToPath(new URL('../../../iot-rules/', import.meta.url)))
    const matching = rules.filter((rule) => rule.matches(`iotflow/devices/7/${topic}`))
    expect(matching.map((rule) => rule.functionName)).toEqual([functionName])
  })
})

describe('SQL of a rule', () => {
  const event = (sql: string) =>
    Object.fromEntries(parseRule(sql).fields.map(({ name, value }) => [name, value(message)]))

  test('topic(n) counts the levels from 1', () => {
    expect(event("select topic(3) as id, topic(9) AS none, topic(1) AS first from 'a'")).toEqual({
      id: '7',
      none: undefined,
      first: 'iotflow',
    })
  })

  test('encode uses only the visible part of a larger buffer', () => {
    const { fields } = parseRule("SELECT encode( * , 'base64' ) AS p FROM 'a'")
    const payload = Buffer.from('xxhixx').subarray(2, 4)
    expect(fields[0]?.value({ ...message, payload })).toBe(Buffer.from('hi').toString('base64'))
  })

  test.each([
    ["SELECT * FROM 'a'", 'it selects *'],
    ["SELECT topic() AS t FROM 'a' WHERE x > 1", 'goes on after FROM with WHERE'],
    ["SELECT temperature FROM 'a'", 'it selects temperature'],
    ["SELECT upper(topic()) AS t FROM 'a'", 'it calls upper(topic('],
    ["SELECT encode(*, 'hex') AS p FROM 'a'", "it calls encode(*,'hex')"],
    ["SELECT encode(data, 'base64') AS p FROM 'a'", "it calls encode(data,'base64')"],
    ["SELECT topic(0) AS t FROM 'a'", 'it calls topic(0)'],
    ["SELECT topic(1 2) AS t FROM 'a'", 'it calls topic(12)'],
    ["SELECT timestamp() FROM 'a'", 'timestamp() has no AS'],
    ["SELECT topic() AS t, clientid() AS t FROM 'a'", 'it selects t twice'],
    ["SELECT topic() AS t, FROM 'a'", 'it selects FROM'],
    ["SELECT topic() AS t clientid() AS c FROM 'a'", 'clientid stands where'],
    ["SELECT topic() AS t FROM 'a/#/b'", 'is no topic filter'],
    ['SELECT topic() AS t FROM a', 'a is no topic filter'],
    ['SELECT topic() AS t', 'ends too early'],
    ["SET @x = 1 SELECT topic() AS t FROM 'a'", 'starts with SET'],
    ["SELECT topic() AS t FROM 'a' 'b'", "goes on after FROM with 'b'"],
    ["SELECT topic() AS t FROM 'a", 'is no topic filter'],
    ['', 'ends too early'],
  ])('%s is refused', (sql, what) => {
    expect(() => parseRule(sql, 'my_rule')).toThrow(`IoT rule my_rule: `)
    expect(() => parseRule(sql, 'my_rule')).toThrow(what)
    expect(() => parseRule(sql, 'my_rule')).toThrow('this broker knows SELECT of')
  })
})

describe('files of rules', () => {
  const good = (name: string) =>
    `name: ${name}\nfunction: f\nsqlVersion: '2016-03-23'\nsql: SELECT topic() AS t FROM 'a/+'\n`

  test('are read in the order of their names; other files are ignored', async () => {
    const dir = await withFiles({ 'b.yml': good('two'), 'a.yml': good('one'), 'README.md': 'no rule' })
    const rules = await loadRules(dir)
    expect(rules.map(({ name }) => name)).toEqual(['one', 'two'])
    expect(rules[0]?.event({ ...message, topic: 'a/x' })).toEqual({ t: 'a/x' })
  })

  test('match a/# with what is below a, and not with a itself, as AWS IoT does', async () => {
    const dir = await withFiles({ 'a.yml': good('one').replace("'a/+'", "'a/#'") })
    const [rule] = await loadRules(dir)
    expect(['a', 'a/', 'a/b', 'a/b/c', 'b/a'].filter((topic) => rule?.matches(topic))).toEqual([
      'a/',
      'a/b',
      'a/b/c',
    ])
  })

  test('give events without the fields that have no value', async () => {
    const dir = await withFiles({ 'a.yml': good('one').replace('topic()', 'topic(9)') })
    const [rule] = await loadRules(dir)
    expect(Object.keys(rule?.event(message) ?? { x: 1 })).toEqual([])
  })

  test.each([
    ['no name', good('one').replace('name: one', ''), 'it has no name'],
    ['no function', good('one').replace('function: f', ''), 'it has no function'],
    ['an invalid name', good('a-b'), 'a-b is not a name'],
    ['another version', good('one').replace('2016-03-23', '2015-10-08'), 'sqlVersion is not 2016-03-23'],
    ['a WHERE', good('one').replace("'a/+'", "'a' WHERE 1=1"), 'IoT rule one: it goes on'],
    ['no YAML', 'name: [', 'not valid YAML'],
    ['nothing', '', 'it has no name'],
  ])('%s is refused', async (_what, text, message) => {
    const dir = await withFiles({ 'a.yml': text })
    await expect(loadRules(dir)).rejects.toThrow(message)
  })

  test('with the same name are refused', async () => {
    const dir = await withFiles({ 'a.yml': good('one'), 'b.yml': good('one') })
    await expect(loadRules(dir)).rejects.toThrow('IoT rule one: another file has that name')
  })
})
