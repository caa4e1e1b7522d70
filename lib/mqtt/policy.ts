/** AWS IoT policies: what a device may do, as documents, and an evaluator that decides as AWS IoT Core does. */
import { clientIdPatterns, deviceTopics, isTopicFilter, isTopicName } from './topics.ts'

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

/** Decisions about one client. Every method is pure and cheap enough for each message. */
export interface Policy {
  /** @param features `will`: the CONNECT carries one; `persistent`: clean session is off. */
  connect(clientId: string, features: { will: boolean; persistent: boolean }): boolean
  /** False too for what is no topic name, whatever the policy says. */
  publish(topic: string): boolean
  /** Whether a publish to this topic may be retained; `publish` is asked as well. */
  retain(topic: string): boolean
  /** False too for what is no topic filter. The filter is compared as text, its wildcards are literal. */
  subscribe(filter: string): boolean
  /** Whether a message on this topic may be delivered. */
  receive(topic: string): boolean
}

/** `arn:<partition>:iot:<region>:<account>:` of the broker on one machine. */
export const localArnPrefix = 'arn:aws:iot:local:0:'

const version = '2012-10-17'

/**
 * What a device may do, in documents that stay under AWS IoT's 2048 characters each and 10 in all.
 * @param arnPrefix `arn:<partition>:iot:<region>:<account>:` of the broker, up to 64 characters.
 */
export function devicePolicies(deviceId: number, arnPrefix = localArnPrefix): PolicyDocument[] {
  const topics = deviceTopics(deviceId)
  const arn = (kind: string) => (name: string) => `${arnPrefix}${kind}/${name}`
  const status = [topics.statusOnline, topics.statusOffline, topics.statusHeartbeat]
  const allow = (action: string, kind: string, names: string[]): PolicyStatement => ({
    Effect: 'Allow',
    Action: action,
    Resource: names.map(arn(kind)),
  })
  return [
    {
      Version: version,
      Statement: [
        {
          ...allow('iot:Connect', 'client', clientIdPatterns(deviceId)),
          Condition: {
            'ForAllValues:StringEquals': { 'iot:ConnectAttributes': ['LastWill', 'PersistentConnect'] },
          },
        },
      ],
    },
    {
      Version: version,
      Statement: [
        allow('iot:Publish', 'topic', [
          topics.telemetryPublish,
          `${topics.telemetryPublish}/*`,
          ...status,
          topics.commandsResponsePublish,
          topics.configReportedPublish,
        ]),
        allow('iot:RetainPublish', 'topic', status),
      ],
    },
    {
      Version: version,
      Statement: [
        allow('iot:Subscribe', 'topicfilter', [
          topics.commandsSubscribe,
          `${topics.commandsSubscribe}/#`,
          topics.configSubscribe,
          topics.fleetNoticesSubscribe,
        ]),
        allow('iot:Receive', 'topic', [
          topics.commandsSubscribe,
          `${topics.commandsSubscribe}/*`,
          topics.configSubscribe,
          topics.fleetNoticesSubscribe.replace('#', '*'),
        ]),
      ],
    },
  ]
}

const actions = ['Connect', 'Publish', 'RetainPublish', 'Subscribe', 'Receive'] as const
type Action = (typeof actions)[number]

interface Rule {
  allow: boolean
  /** Undefined: applies to every resource. */
  resources: readonly string[] | undefined
  /** ConnectAttributes the condition names; undefined without a condition. */
  attributes: ReadonlySet<string> | undefined
}

const known: ReadonlySet<string> = new Set(['Sid', 'Effect', 'Action', 'Resource', 'Condition'])
const denyAll: Rule = { allow: false, resources: undefined, attributes: undefined }

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const texts = (value: unknown): string[] | undefined => {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  return list.length > 0 && list.every((item) => typeof item === 'string') ? (list as string[]) : undefined
}

/** `*` is any text, `?` any one character; everything else stands for itself. */
const patternSource = (pattern: string): string =>
  pattern
    .replaceAll(/\*+/g, '*')
    .replaceAll(/[\\^$.|+()[\]{}/]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')

const anyOf = (patterns: readonly string[], flags = 'su'): RegExp | undefined =>
  patterns.length === 0 ? undefined : new RegExp(`^(?:${patterns.map(patternSource).join('|')})$`, flags)

/** The one condition that is understood; `false` for any other. */
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

/** What a statement says for one action; undefined when it says nothing. What is not understood never allows. */
const ruleOf = (statement: unknown, action: Action): Rule | undefined => {
  if (!isRecord(statement)) return denyAll
  const { Effect, Action: named, Resource, Condition } = statement
  if (Effect !== 'Allow' && Effect !== 'Deny') return denyAll
  const allow = Effect === 'Allow'
  const unclear = allow ? undefined : denyAll
  const wantedActions = texts(named)
  if (wantedActions === undefined) return unclear
  if (!anyOf(wantedActions, 'sui')?.test(`iot:${action}`)) return undefined
  const resources = texts(Resource)
  const attributes = connectAttributes(Condition)
  if (
    resources === undefined ||
    resources.some((resource) => resource.includes('${')) ||
    attributes === false ||
    (attributes !== undefined && action !== 'Connect') ||
    Object.keys(statement).some((key) => !known.has(key))
  ) {
    return unclear
  }
  return { allow, resources, attributes }
}

/** `ForAllValues`: everything the client asks for is among the values; true when it asks for nothing. */
const covers = (attributes: ReadonlySet<string>, asked: readonly string[]): boolean =>
  asked.every((name) => attributes.has(name))

/**
 * Prepares the decisions: an explicit Deny wins over an Allow, and without an Allow the answer is no. Conditions other
 * than `ForAllValues:StringEquals` on `iot:ConnectAttributes`, policy variables and unknown elements make an Allow
 * not apply and a Deny apply. Never throws.
 * @param docs policy documents, or their JSON, as an authorizer returns them.
 * @param arnPrefix `arn:<partition>:iot:<region>:<account>:` that resources are compared with.
 */
export function compilePolicies(
  docs: readonly (PolicyDocument | string)[],
  arnPrefix = localArnPrefix,
): Policy {
  const statements = docs.flatMap((doc): unknown[] => {
    try {
      const parsed: unknown = typeof doc === 'string' ? JSON.parse(doc) : doc
      const list = isRecord(parsed) ? parsed.Statement : undefined
      return Array.isArray(list) ? list : [list]
    } catch {
      return [undefined]
    }
  })
  const rulesFor = (action: Action): Rule[] =>
    statements.map((statement) => ruleOf(statement, action)).filter((rule) => rule !== undefined)

  const deciderFor = (action: Action, kind: string) => {
    const rules = rulesFor(action)
    const resourcesOf = (allow: boolean) =>
      rules.filter((rule) => rule.allow === allow).flatMap((rule) => rule.resources ?? ['*'])
    const allowed = anyOf(resourcesOf(true))
    const denied = anyOf(resourcesOf(false))
    return (name: string): boolean => {
      const arn = `${arnPrefix}${kind}/${name}`
      return allowed?.test(arn) === true && denied?.test(arn) !== true
    }
  }

  const connectRules = rulesFor('Connect').map((rule) => ({
    ...rule,
    pattern: anyOf(rule.resources ?? ['*']),
  }))
  const publish = deciderFor('Publish', 'topic')
  const retain = deciderFor('RetainPublish', 'topic')
  const subscribe = deciderFor('Subscribe', 'topicfilter')
  const receive = deciderFor('Receive', 'topic')

  return {
    connect(clientId, { will, persistent }) {
      const asked = [...(will ? ['LastWill'] : []), ...(persistent ? ['PersistentConnect'] : [])]
      const arn = `${arnPrefix}client/${clientId}`
      let allowed = false
      for (const { allow, attributes, pattern } of connectRules) {
        // Without a condition an Allow covers a plain connection only, while a Deny covers every one.
        const applies = attributes === undefined ? !allow || asked.length === 0 : covers(attributes, asked)
        if (!applies || pattern?.test(arn) !== true) continue
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
