/** AWS IoT policies: the documents that give a device its rights, and an evaluator that decides as AWS IoT Core does. */
import { type DeviceTopics, isTopicFilter, isTopicName } from './topics.ts'

export interface PolicyStatement {
  readonly Sid?: string
  readonly Effect: 'Allow' | 'Deny'
  readonly Action: string | readonly string[]
  readonly Resource: string | readonly string[]
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>
}

export interface PolicyDocument {
  readonly Version: '2012-10-17'
  readonly Statement: readonly PolicyStatement[]
}

/** Decisions about one client. The methods are pure, and cheap enough to be called for each message, except `connect` and `isFrom`. */
export interface Policy {
  /** Whether these are the documents that it was compiled from, so that compiling them anew would change nothing. */
  isFrom(docs: readonly (PolicyDocument | string)[]): boolean
  /** @param features `will`: the CONNECT has a will; `persistent`: it asks for a persistent session. */
  connect(clientId: string, features: { will: boolean; persistent: boolean }): boolean
  /** Always false for text that is not a topic name. */
  publish(topic: string): boolean
  /** Whether a message on this topic may be retained. The caller asks `publish` as well. */
  retain(topic: string): boolean
  /** Always false for text that is not a topic filter. The filter is compared as text: its wildcards mean themselves. */
  subscribe(filter: string): boolean
  /** Whether a message on this topic may be delivered to the client. */
  receive(topic: string): boolean
}

/** `arn:<partition>:iot:<region>:<account>:` of the embedded broker. */
export const localArnPrefix = 'arn:aws:iot:local:0:'

const version = '2012-10-17'

/**
 * The rights of a device, as documents within the limits of AWS IoT: 2048 characters each, and 10 documents.
 * @param clientId the only client id that may connect; a caller has checked that it names the device.
 * @param arnPrefix `arn:<partition>:iot:<region>:<account>:` of the broker, up to 64 characters.
 */
export function devicePolicies(
  topics: DeviceTopics,
  clientId: string,
  arnPrefix = localArnPrefix,
): PolicyDocument[] {
  const status = [topics.statusPublish, topics.statusOnline, topics.statusOffline, topics.statusHeartbeat]
  const commands = topics.commandsSubscribe
  const statement = (Effect: 'Allow' | 'Deny', action: string, kind: string, names: string[]) => ({
    Effect,
    Action: `iot:${action}`,
    Resource: names.map((name) => `${arnPrefix}${kind}/${name}`),
  })
  const connect = {
    ...statement('Allow', 'Connect', 'client', [clientId]),
    Condition: {
      'ForAllValues:StringEquals': { 'iot:ConnectAttributes': ['LastWill', 'PersistentConnect'] },
    },
  }
  const publish = statement('Allow', 'Publish', 'topic', [
    topics.telemetryPublish,
    `${topics.telemetryPublish}/*`,
    ...status,
    topics.commandsResponsePublish,
    `${commands}/*/response`,
    topics.configReportedPublish,
  ])
  // A filter is compared as text, so each one that begins like this matches topics below `commands/` only.
  const subscribe = statement('Allow', 'Subscribe', 'topicfilter', [
    commands,
    `${commands}/*`,
    topics.configSubscribe,
    topics.fleetNoticesSubscribe.replace('#', '*'),
  ])
  const receive = statement('Allow', 'Receive', 'topic', [
    commands,
    `${commands}/*`,
    topics.configSubscribe,
    topics.fleetNoticesSubscribe.replace('#', '*'),
  ])
  const documents: PolicyStatement[][] = [
    [connect],
    [publish],
    [
      subscribe,
      receive,
      // `commands/#` matches the device's own answers, too.
      statement('Deny', 'Receive', 'topic', [topics.commandsResponsePublish, `${commands}/*/response`]),
    ],
    [
      // `*` spans levels, and a command id is one level.
      statement('Deny', 'Publish', 'topic', [`${commands}/*/*/response`]),
      statement('Allow', 'RetainPublish', 'topic', status),
    ],
  ]
  return documents.map((Statement) => ({ Version: version, Statement }))
}

/** The documents of a client whose key is right and whose client id is not that of its device: it may not connect. */
export const refusedClientPolicies: readonly PolicyDocument[] = [
  { Version: version, Statement: [{ Effect: 'Deny', Action: 'iot:Connect', Resource: '*' }] },
]

const actions = ['Connect', 'Publish', 'RetainPublish', 'Subscribe', 'Receive'] as const
type Action = (typeof actions)[number]

interface StatementRule {
  allow: boolean
  /** Undefined when the rule applies to every resource. */
  resources: readonly string[] | undefined
  /** ConnectAttributes that the condition names; undefined without a condition. */
  attributes: ReadonlySet<string> | undefined
}

const known: ReadonlySet<string> = new Set(['Sid', 'Effect', 'Action', 'Resource', 'Condition'])
const isAscii = /^[ -~]*$/
const denyAll: StatementRule = { allow: false, resources: undefined, attributes: undefined }

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const texts = (value: unknown): string[] | undefined => {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  return list.length > 0 && list.every((item) => typeof item === 'string') ? (list as string[]) : undefined
}

/**
 * Whether a text matches a pattern: `*` is any text, `?` one character, all else is literal. Not a regular expression: to compile some
 * for each device is slow, and a topic of many levels made one take seconds.
 */
const matches = (pattern: string, text: string): boolean => {
  let inPattern = 0
  let lastStar = -1
  /** Where the text behind the last `*` begins. */
  let behindStar = 0
  for (let inText = 0; inText < text.length; ) {
    const wanted = pattern[inPattern]
    if (wanted === '*') {
      lastStar = inPattern
      behindStar = inText
      inPattern += 1
    } else if (wanted === '?' || wanted === text[inText]) {
      inText += wanted === '?' ? widthAt(text, inText) : 1
      inPattern += 1
    } else if (lastStar >= 0) {
      // The `*` takes one character more.
      behindStar += widthAt(text, behindStar)
      inText = behindStar
      inPattern = lastStar + 1
    } else return false
  }
  while (pattern[inPattern] === '*') inPattern += 1
  return inPattern === pattern.length
}

/** Some characters are two units of a string. */
const widthAt = (text: string, place: number): number => ((text.codePointAt(place) ?? 0) > 0xffff ? 2 : 1)

/** The values of the one supported condition; undefined without a condition, `false` for every other condition. */
const connectAttributes = (condition: unknown): Set<string> | undefined | false => {
  if (condition === undefined) return undefined
  if (!isRecord(condition)) return false
  const [operator, ...otherOperators] = Object.entries(condition)
  if (operator?.[0] !== 'ForAllValues:StringEquals' || otherOperators.length > 0) return false
  if (!isRecord(operator[1])) return false
  const [key, ...otherKeys] = Object.entries(operator[1])
  if (key?.[0] !== 'iot:ConnectAttributes' || otherKeys.length > 0) return false
  const values = texts(key[1])
  return values === undefined ? false : new Set(values)
}

/** The rule of a statement for one action; undefined when the statement is not about it. Unsupported elements never allow. */
const ruleOf = (statement: unknown, action: Action): StatementRule | undefined => {
  if (!isRecord(statement)) return denyAll
  const { Effect, Action: named, Resource, Condition } = statement
  if (Effect !== 'Allow' && Effect !== 'Deny') return denyAll
  const allow = Effect === 'Allow'
  const ifUnsupported = allow ? undefined : denyAll
  const wantedActions = texts(named)
  if (wantedActions === undefined) return ifUnsupported
  // Outside of ASCII, several letters are the same without case.
  if (!wantedActions.every((wanted) => isAscii.test(wanted))) return ifUnsupported
  const asked = `iot:${action}`.toLowerCase()
  if (!wantedActions.some((wanted) => matches(wanted.toLowerCase(), asked))) return undefined
  const resources = texts(Resource)
  const attributes = connectAttributes(Condition)
  if (
    resources === undefined ||
    resources.some((resource) => resource.includes('${') || !resource.isWellFormed()) ||
    attributes === false ||
    (attributes !== undefined && action !== 'Connect') ||
    Object.keys(statement).some((key) => !known.has(key))
  ) {
    return ifUnsupported
  }
  return { allow, resources, attributes }
}

/** `ForAllValues`: true when every attribute of the CONNECT is among the values, also when it has none. */
const covers = (attributes: ReadonlySet<string>, requested: readonly string[]): boolean =>
  requested.every((name) => attributes.has(name))

const textOf = (doc: PolicyDocument | string): string => (typeof doc === 'string' ? doc : JSON.stringify(doc))

const statementsOf = (doc: string): unknown[] => {
  try {
    const parsed: unknown = JSON.parse(doc)
    const list = isRecord(parsed) ? parsed.Statement : undefined
    return Array.isArray(list) ? list : [list]
  } catch {
    return [undefined]
  }
}

/** Decides about names of one kind. */
const deciderOf = (rules: readonly StatementRule[], prefix: string) => {
  const resourcesOf = (allow: boolean) =>
    rules.filter((rule) => rule.allow === allow).flatMap((rule) => rule.resources ?? ['*'])
  const [allowed, denied] = [resourcesOf(true), resourcesOf(false)]
  return (name: string): boolean => {
    const arn = `${prefix}${name}`
    const isOneOf = (patterns: readonly string[]) => patterns.some((pattern) => matches(pattern, arn))
    return isOneOf(allowed) && !isOneOf(denied)
  }
}

/**
 * Compiles policies. An explicit Deny wins over an Allow, and without an Allow everything is denied. A statement with an
 * unsupported element (another condition, a policy variable, an unknown key) does not allow, but still denies. Never throws.
 * @param docs policy documents or their JSON, as an authorizer returns them.
 * @param arnPrefix `arn:<partition>:iot:<region>:<account>:` of the broker, which the resources must name.
 */
export function compilePolicies(
  docs: readonly (PolicyDocument | string)[],
  arnPrefix = localArnPrefix,
): Policy {
  // Each action is compiled when it is first asked for: thousands of connections on which nothing happens keep only the texts.
  const kept = docs.map(textOf)
  const rulesFor = (action: Action): StatementRule[] =>
    kept
      .flatMap(statementsOf)
      .map((statement) => ruleOf(statement, action))
      .filter((rule) => rule !== undefined)
  const deciderFor = (action: Action, kind: string) => {
    let decide: ((name: string) => boolean) | undefined
    return (name: string): boolean => {
      decide ??= deciderOf(rulesFor(action), `${arnPrefix}${kind}/`)
      return decide(name)
    }
  }
  const publish = deciderFor('Publish', 'topic')
  const retain = deciderFor('RetainPublish', 'topic')
  const subscribe = deciderFor('Subscribe', 'topicfilter')
  const receive = deciderFor('Receive', 'topic')

  return {
    isFrom: (others) => others.length === kept.length && others.every((doc, at) => textOf(doc) === kept[at]),
    connect(clientId, { will, persistent }) {
      const requested = [...(will ? ['LastWill'] : []), ...(persistent ? ['PersistentConnect'] : [])]
      const arn = `${arnPrefix}client/${clientId}`
      let allowed = false
      for (const { allow, attributes, resources = ['*'] } of rulesFor('Connect')) {
        // Without a condition an Allow covers connections without attributes only, and a Deny covers all.
        const applies =
          attributes === undefined ? !allow || requested.length === 0 : covers(attributes, requested)
        if (!applies || !resources.some((pattern) => matches(pattern, arn))) continue
        if (!allow) return false
        allowed = true
      }
      return allowed
    },
    publish: (topic) => isTopicName(topic) && publish(topic),
    retain: (topic) => isTopicName(topic) && retain(topic),
    subscribe: (filter) => isTopicFilter(filter) && subscribe(filter),
    receive,
  }
}
