/** Evaluates the topic rules of iot-rules/ as AWS IoT does, for the small subset of its SQL that they use. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'yaml'
import { awsTopicMatcher, isTopicFilter } from '../../lib/mqtt/topics.ts'
import { defaultTopicRoot } from '../../lib/stages.ts'

/** A message, as a rule sees it. */
export interface RuleMessage {
  readonly topic: string
  readonly payload: Uint8Array
  readonly clientId: string
  /** Arrival time, ms since the epoch: the same for all rules and retries of one message. */
  readonly receivedAt: number
  /** The value of newuuid(): the same for all rules and retries of one message. */
  readonly messageId: string
  /** Of MQTT 5. */
  readonly correlationData?: Uint8Array | undefined
}

export interface TopicRule {
  readonly name: string
  /** Name of the function that it calls, as in serverless.yml. */
  readonly functionName: string
  /** The topic filter after FROM. */
  readonly filter: string
  matches(topic: string): boolean
  /** The event for the function. A field without a value (`topic(9)` of a short topic) is left out. */
  event(message: RuleMessage): Record<string, unknown>
}

export interface ParsedRule {
  readonly filter: string
  readonly fields: readonly { readonly name: string; readonly value: (message: RuleMessage) => unknown }[]
}

const supported =
  "this broker knows SELECT of encode(*, 'base64'), topic(), topic(n), clientid(), timestamp(), newuuid() and get_mqtt_property('correlation_data'), each AS a name, and FROM 'filter'"

const token = /\s*(?:([A-Za-z_]\w*)|(\d+)|'([^']*)'|([(),*])|(\S))/gy

type Token = { kind: 'word' | 'number' | 'text' | 'sign'; text: string }

const tokensOf = (sql: string): Token[] => {
  const tokens: Token[] = []
  for (const [, word, number, text, sign, other] of sql.matchAll(token)) {
    if (word !== undefined) tokens.push({ kind: 'word', text: word })
    else if (number !== undefined) tokens.push({ kind: 'number', text: number })
    else if (text !== undefined) tokens.push({ kind: 'text', text })
    else tokens.push({ kind: 'sign', text: sign ?? other ?? '' })
  }
  return tokens
}

const shown = (tokens: readonly Token[]): string =>
  tokens.map(({ kind, text }) => (kind === 'text' ? `'${text}'` : text)).join('')

const bufferOf = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const readerOf = (call: string, args: readonly Token[]): ((message: RuleMessage) => unknown) | undefined => {
  const written = `${call}(${shown(args)})`
  if (written === "encode(*,'base64')") return ({ payload }) => bufferOf(payload).toString('base64')
  if (written === 'topic()') return ({ topic }) => topic
  if (written === 'clientid()') return ({ clientId }) => clientId
  if (written === 'timestamp()') return ({ receivedAt }) => receivedAt
  if (written === "get_mqtt_property('correlation_data')")
    return ({ correlationData }) => correlationData && Buffer.from(correlationData).toString('base64')
  if (written === 'newuuid()') return ({ messageId }) => messageId
  const [level] = args
  if (call !== 'topic' || args.length !== 1 || level?.kind !== 'number' || !/^[1-9]\d?$/.test(level.text))
    return undefined
  return ({ topic }) => topic.split('/')[Number(level.text) - 1]
}

/**
 * @param name name of the rule, for the error.
 * @throws {Error} one sentence that names the rule and the part of its SQL that is not supported.
 */
export function parseRule(sql: string, name = 'rule'): ParsedRule {
  const fail = (what: string): never => {
    throw new Error(`IoT rule ${name}: ${what}; ${supported}.`)
  }
  const tokens = tokensOf(sql)
  let at = 0
  const next = (): Token => tokens[at++] ?? fail('its SQL ends too early')
  const isKeyword = (found: Token | undefined, keyword: string) =>
    found?.kind === 'word' && found.text.toUpperCase() === keyword
  const isSign = (found: Token | undefined, sign: string) => found?.kind === 'sign' && found.text === sign

  const start = next()
  if (!isKeyword(start, 'SELECT')) fail(`it starts with ${shown([start])} and not with SELECT`)
  const fields: { name: string; value: (message: RuleMessage) => unknown }[] = []
  for (;;) {
    const call = next()
    if (call.kind !== 'word' || !isSign(tokens[at], '('))
      fail(`it selects ${shown([call])}, which is no call`)
    at++
    const args: Token[] = []
    for (let arg = next(); !isSign(arg, ')'); arg = next()) args.push(arg)
    const value = readerOf(call.text, args) ?? fail(`it calls ${call.text}(${shown(args)})`)
    if (!isKeyword(next(), 'AS')) fail(`${call.text}(${shown(args)}) has no AS`)
    const field = next()
    if (field.kind !== 'word') fail(`${shown([field])} is no name for a field`)
    if (fields.some((other) => other.name === field.text)) fail(`it selects ${field.text} twice`)
    fields.push({ name: field.text, value })
    const follows = next()
    if (isSign(follows, ',')) continue
    if (!isKeyword(follows, 'FROM')) fail(`${shown([follows])} stands where a comma or FROM belongs`)
    break
  }
  const from = next()
  if (from.kind !== 'text' || !isTopicFilter(from.text)) fail(`${shown([from])} is no topic filter`)
  const rest = tokens[at]
  if (rest !== undefined) fail(`it goes on after FROM with ${shown([rest])}`)
  return { filter: from.text, fields }
}

/** The variable of serverless.yml that stands for the first level of every topic. */
export const rootVariable = '${self:custom.topicRoot}'

/**
 * A rule as a file of iot-rules has it: its `name`, `function`, `sqlVersion` and `sql`.
 * @throws {Error} one sentence that names the rule and its mistake.
 */
export const ruleOf = (file: string, document: unknown): TopicRule => {
  const text = (key: string): string => {
    const value =
      typeof document === 'object' && document !== null
        ? (document as Record<string, unknown>)[key]
        : undefined
    if (typeof value !== 'string' || value === '') throw new Error(`IoT rule ${file}: it has no ${key}.`)
    return value
  }
  const name = text('name')
  if (!/^\w{1,128}$/.test(name))
    throw new Error(`IoT rule ${file}: ${name} is not a name of letters, digits and _.`)
  if (text('sqlVersion') !== '2016-03-23')
    throw new Error(`IoT rule ${name}: its sqlVersion is not 2016-03-23.`)
  const { filter, fields } = parseRule(text('sql'), name)
  return {
    name,
    functionName: text('function'),
    filter,
    matches: awsTopicMatcher(filter),
    event: (message) => {
      const event: Record<string, unknown> = {}
      for (const field of fields) {
        const value = field.value(message)
        if (value !== undefined) event[field.name] = value
      }
      return event
    },
  }
}

/**
 * Reads every `.yml` file of a folder, in the order of their names.
 * @param root TOPIC_ROOT, which takes the place of `${self:custom.topicRoot}` as at a deployment.
 * @throws {Error} one sentence that names the rule and its mistake.
 */
export async function loadRules(dir: string, root = defaultTopicRoot): Promise<TopicRule[]> {
  const files = (await readdir(dir)).filter((file) => file.endsWith('.yml')).sort()
  const rules: TopicRule[] = []
  for (const file of files) {
    const source = (await readFile(join(dir, file), 'utf8')).replaceAll(rootVariable, () => root)
    let document: unknown
    try {
      document = parse(source)
    } catch {
      throw new Error(`IoT rule ${file}: it is not valid YAML.`)
    }
    const rule = ruleOf(file, document)
    if (rules.some(({ name }) => name === rule.name))
      throw new Error(`IoT rule ${rule.name}: another file has that name too.`)
    rules.push(rule)
  }
  return rules
}
