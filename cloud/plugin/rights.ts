/**
 * What deployed functions may do: which module in a function's bundle needs which rights and which secrets. A function has no
 * other rights, so a new call of AWS needs a line here; the test of the packaged stages compares the roles with the bundles.
 */
import type { SecretSetting } from '../../lib/lambda/secrets.ts'
import { secretSettings } from '../../lib/lambda/secrets.ts'
import type { BundleContents } from '../../scripts/build.ts'

/** A value of CloudFormation: a text, or a function of it such as `{ 'Fn::Sub': … }`. */
export type Value = string | { readonly [name: string]: unknown }

export interface Statement {
  readonly Effect: 'Allow'
  readonly Action: readonly string[]
  readonly Resource: Value | readonly Value[]
}

/** What a stage has of the broker, which all stages of an account share. */
export interface StageOfBroker {
  /** The first level of every topic. */
  readonly topicRoot: string
  /** A pattern that all its client ids match. */
  readonly clientIds: string
  /** The domain configuration by which its devices connect. */
  readonly usedDomainConfiguration: string
}

interface Right {
  /** Any of these in a bundle gives the right. */
  readonly modules?: readonly string[]
  /** Or any of these checks of credentials. */
  readonly checks?: BundleContents['checks']
  readonly secrets?: readonly SecretSetting[]
  readonly statements?: (broker: StageOfBroker) => Statement[]
}

const inAccount = (service: string, rest: string): Value => ({
  'Fn::Sub': `arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:${rest}`,
})

const allow = (actions: readonly string[], resources: readonly Value[]): Statement => ({
  Effect: 'Allow',
  Action: actions,
  Resource: resources,
})

const topics = (root: string, ...names: string[]) =>
  names.map((name) => inAccount('iot', `topic/${root}/${name}`))

const publishRetained = ['iot:Publish', 'iot:RetainPublish']

const commandTopics = ['devices/*/commands', 'devices/*/commands/*']
const retainedTopics = [
  'devices/*/config',
  'devices/*/status',
  'devices/*/status/online',
  'devices/*/status/offline',
  'devices/*/status/heartbeat',
]

/** By a name that becomes part of the role's. */
const rights = {
  database: { modules: ['lib/libsql/client.ts'], secrets: ['DATABASE_AUTH_TOKEN'] },
  limits: { modules: ['lib/http/limit/upstash.ts'], secrets: ['UPSTASH_REDIS_REST_TOKEN'] },
  influx: {
    modules: ['lib/telemetry/influx/store.ts', 'lib/telemetry/embedded/database.ts'],
    secrets: ['INFLUXDB_TOKEN'],
  },
  admin: { checks: ['admin', 'read', 'metrics'], secrets: ['ADMIN_TOKEN'] },
  enrolment: { checks: ['enrol'], secrets: ['ENROLLMENT_KEY'] },
  // It tells of each setting whether it is set.
  settings: { modules: ['lib/dashboard/settings.ts'], secrets: secretSettings },
  // Configurations are retained, and the retained messages of a deleted device are cleared.
  configurations: {
    modules: ['lib/configuration/publisher.ts'],
    statements: ({ topicRoot: root }) => [allow(publishRetained, topics(root, ...retainedTopics))],
  },
  // Commands are not retained.
  commands: {
    modules: ['lib/commands/deliverer.ts'],
    statements: ({ topicRoot: root }) => [allow(['iot:Publish'], topics(root, ...commandTopics))],
  },
  messages: {
    modules: ['functions/admin/mqtt-publish.ts'],
    statements: ({ topicRoot: root }) => [
      allow(publishRetained, topics(root, ...retainedTopics, 'fleet/notices/*')),
      allow(['iot:Publish'], topics(root, ...commandTopics)),
    ],
  },
  // A device chooses what stands before its id in the client id.
  disconnect: {
    modules: ['lib/broker/disconnect.ts'],
    statements: ({ clientIds }) => [
      allow(['iot:DeleteConnection'], [inAccount('iot', `client/${clientIds}`)]),
    ],
  },
  // Devices are told its host.
  domain: {
    modules: ['lib/broker/iot-domain.ts'],
    statements: ({ usedDomainConfiguration: name }) => [
      allow(['iot:DescribeDomainConfiguration'], [inAccount('iot', `domainconfiguration/${name}/*`)]),
    ],
  },
  // It has no resource.
  broker: {
    modules: ['lib/broker/check.ts'],
    statements: () => [{ Effect: 'Allow', Action: ['iot:ListRetainedMessages'], Resource: '*' }],
  },
  webhooks: { modules: ['lib/webhooks/signature.ts'], secrets: ['WEBHOOK_SIGNING_KEY'] },
  waking: {
    modules: ['lib/webhooks/waker.ts'],
    statements: () => [allow(['sqs:SendMessage'], [{ 'Fn::GetAtt': ['WebhookQueue', 'Arn'] }])],
  },
  spool: {
    modules: ['lib/telemetry/intake/sqs.ts'],
    statements: () => [
      allow(['sqs:SendMessage', 'sqs:GetQueueAttributes'], [{ 'Fn::GetAtt': ['SpoolQueue', 'Arn'] }]),
    ],
  },
} as const satisfies Record<string, Right>

export type RightName = keyof typeof rights

const table: Readonly<Record<RightName, Right>> = rights
const names = Object.keys(rights) as RightName[]

/** The rights of a function by what is in its bundle. */
export const rightsOf = ({ modules, checks }: Pick<BundleContents, 'modules' | 'checks'>): RightName[] =>
  names.filter(
    (name) =>
      table[name].modules?.some((module) => modules.includes(module)) === true ||
      table[name].checks?.some((check) => checks.includes(check)) === true,
  )

/** The secrets that these rights need, in the order of the settings. */
export const secretsOf = (of: readonly RightName[]): SecretSetting[] => {
  const needed = new Set(of.flatMap((name) => table[name].secrets ?? []))
  return secretSettings.filter((secret) => needed.has(secret))
}

/**
 * The statements of these rights, those that read the secrets among them.
 * @param stage has its parameters below `/<service>/<stage>/`.
 */
export function statementsOf(
  of: readonly RightName[],
  { service, stage, ...broker }: StageOfBroker & { readonly service: string; readonly stage: string },
): Statement[] {
  const parameters = secretsOf(of).map((name) => inAccount('ssm', `parameter/${service}/${stage}/${name}`))
  return [
    ...(parameters.length > 0 ? [allow(['ssm:GetParameters'], parameters)] : []),
    ...of.flatMap((name) => table[name].statements?.(broker) ?? []),
  ]
}
