/** The settings of the environment: their names, their forms, and the combinations that make no sense. */
import { isIP } from 'node:net'
import * as z from 'zod'
import { defaultTopicRoot, deployedStages } from './stages.ts'

type Environment = Readonly<Record<string, string | undefined>>

const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((n) => n >= min && n <= max, `must be a whole number from ${min} to ${max}`)

const flag = z
  .string()
  .transform((text) => text.toLowerCase())
  .pipe(z.enum(['true', 'false', '1', '0', 'yes', 'no'], 'must be true or false'))
  .transform((text) => text === 'true' || text === '1' || text === 'yes')

const portMessage = 'must be a port from 0 to 65535 (0 picks a free one), or none'
const port = z.union(
  [
    z.literal('none').transform(() => undefined),
    z
      .string()
      .regex(/^\d{1,5}$/)
      .transform(Number)
      .refine((n) => n <= 65535),
  ],
  portMessage,
)

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
)

/**
 * AWS IoT Core takes topics of 256 bytes, and this part stands nine times in a policy document of 2048 characters. Slashes would
 * take from the seven that a topic may have, and `+`, `#`, `$` and quotes have a meaning in filters and in the SQL of rules.
 */
const topicRoot = /^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,30}[A-Za-z0-9])?$/

/** Every setting with its form and its default. */
export const settingsSchema = z.object({
  STAGE: z.enum(['local', ...deployedStages], 'must be local, dev, staging or prod').default('local'),
  TOPIC_ROOT: z
    .string()
    .regex(topicRoot, 'must be one level of 1 to 32 letters, digits, - _ and ., without / + # and $')
    .refine(
      (root) => root.split(/[-_]/).every((part) => !/^\d+$/.test(part)),
      'must have no part of digits only between - and _: client ids begin with it, and name the device so',
    )
    .default(defaultTopicRoot),
  HOST: z.string().min(1).default('127.0.0.1'),
  PORT: port.prefault('5000'),
  MQTT_PORT: port.prefault('1883'),
  MQTT_WS_PORT: port.prefault('9001'),
  MQTT_TLS_PORT: port.prefault('8883'),
  TLS_CERT: z.string().optional(),
  TLS_KEY: z.string().optional(),
  TRUST_PROXY: list.prefault(''),
  DATA_DIR: z.string().min(1).default('.iotflow'),
  BACKUP_DIR: z.string().optional(),
  BACKUP_EVERY_H: whole(1, 8760).prefault('24'),
  BACKUP_KEEP: whole(1, 10_000).prefault('7'),
  DATABASE_URL: z.string().optional(),
  DATABASE_AUTH_TOKEN: z.string().optional(),
  IOT_ENDPOINT: z
    .string()
    .transform((text) => (/^https?:/.test(text) ? text : `https://${text}`))
    .pipe(z.url({ protocol: /^https?$/, error: 'must be the host of an AWS IoT data plane, or its URL' }))
    .optional(),
  IOT_DOMAIN_CONFIGURATION: z
    .string()
    .regex(/^[\w.-]{1,128}$/, 'must be the name of a domain configuration of AWS IoT Core')
    .optional(),
  AWS_REGION: z.string().optional(),
  RATE_LIMIT_PER_MINUTE: whole(0, 1e9).prefault('60'),
  RATE_LIMIT_TELEMETRY_PER_MINUTE: whole(0, 1e9).prefault('100'),
  RATE_LIMIT_REGISTER_PER_5_MINUTES: whole(0, 1e9).optional(),
  RATE_LIMIT_IP_PER_MINUTE: whole(0, 1e9).prefault('300'),
  UPSTASH_REDIS_REST_URL: z.url('must be an https URL').optional(),
  UPSTASH_REDIS_REST_TOKEN: z.string().optional(),
  REDIS_URL: z
    .url({ protocol: /^rediss?$/, error: 'must be a redis: or rediss: URL' })
    .refine(
      (url) => /^\/?\d*$/.test(new URL(url).pathname),
      'may have the number of a database after the host, nothing else',
    )
    .optional(),
  INFLUXDB_URL: z.url({ protocol: /^https?$/, error: 'must be an http: or https: URL' }).optional(),
  INFLUXDB_TOKEN: z.string().optional(),
  INFLUXDB_ORG: z.string().default('iotflow'),
  INFLUXDB_BUCKET: z.string().default('telemetry'),
  SPOOL_MAX_BYTES: whole(1_000_000, 1e13).prefault(String(1024 ** 3)),
  SPOOL_QUEUE_URL: z.url({ protocol: /^https?$/, error: 'must be the URL of an SQS queue' }).optional(),
  SPOOL_MAX_AGE_S: whole(60, 31_536_000).prefault(String(14 * 86_400)),
  MQTT_URL: z
    .string()
    .refine(
      (text) => text === 'none' || z.url({ protocol: /^(mqtts?|wss?)$/ }).safeParse(text).success,
      'must be an mqtt:, mqtts:, ws: or wss: URL, or none',
    )
    .optional(),
  MQTT_USERNAME: z.string().optional(),
  MQTT_PASSWORD: z.string().optional(),
  ADMIN_TOKEN: z.string().min(24, 'must have at least 24 characters').optional(),
  WEBHOOK_SIGNING_KEY: z.string().min(32, 'must have at least 32 characters').optional(),
  WEBHOOK_PRIVATE_ADDRESSES: list.prefault(''),
  WEBHOOK_QUEUE_URL: z.url({ protocol: /^https?$/, error: 'must be the URL of an SQS queue' }).optional(),
  METRICS_TOKEN: z.string().min(24, 'must have at least 24 characters').optional(),
  ENROLLMENT_KEY: list
    .refine((keys) => keys.length <= 2, 'takes one key, or two separated by a comma')
    .refine((keys) => keys.every((key) => key.length >= 16), 'keys must have at least 16 characters')
    .prefault(''),
  OPEN_REGISTRATION: flag.optional(),
  PUBLIC_TELEMETRY_READS: flag.optional(),
  CORS_ORIGINS: list
    .refine(
      (origins) => origins.every((origin) => origin === '*' || /^https?:\/\/[^/\s]+$/.test(origin)),
      'must be origins such as https://app.example.com, separated by commas, or *',
    )
    .prefault(''),
  API_KEY_LENGTH: whole(24, 64).prefault('32'),
  RETENTION_DAYS: whole(0, 36_500).prefault('30'),
  OFFLINE_AFTER_S: whole(1, 31_536_000).prefault('300'),
  MAX_CLOCK_AHEAD_S: whole(0, 31_536_000).prefault('300'),
  COMMAND_POLL_MAX_S: whole(0, 25).optional(),
  LOG_LEVEL: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'], 'must be debug, info, warn, error or silent')
    .default('info'),
})

/** Names and forms of the Flask predecessor, with the setting to use instead. */
const predecessorProblems = (env: Environment): string[] => {
  const found: string[] = []
  if (env.MQTT_HOST)
    found.push(
      'MQTT_HOST is the old name: use MQTT_URL for a broker of your own, or leave it out: one is embedded at HOST.',
    )
  if (env.DATABASE_URL?.startsWith('sqlite:')) {
    found.push('DATABASE_URL is an SQLAlchemy address: use file:path/to/registry.db, or leave it out.')
  }
  if (env.FLASK_ENV || env.FLASK_DEBUG)
    found.push('FLASK_ENV and FLASK_DEBUG are gone: use STAGE and LOG_LEVEL.')
  return found
}

const isAddressRange = (text: string) => {
  const [address = '', bits, ...rest] = text.split('/')
  const version = isIP(address)
  if (version === 0 || rest.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
}

export type Settings = z.output<typeof settingsSchema>

/** Why a stage on AWS cannot have this TOPIC_ROOT: it marks the client ids of the stage, which no other stage may take for its own. */
const topicRootProblem = (stage: Settings['STAGE'], root: string): string | undefined => {
  if (stage === 'local') return undefined
  const parts = root.split(/[-_]/)
  const named = parts.filter((part) => (deployedStages as readonly string[]).includes(part))
  if (stage === 'prod')
    return named.length > 0 ? 'TOPIC_ROOT of stage prod must not name a stage: it marks others.' : undefined
  const isMarked = root.endsWith(`-${stage}`) && named.length === 1
  return isMarked
    ? undefined
    : `TOPIC_ROOT of stage ${stage} must end with -${stage}, and name no other stage.`
}

/** Settings that only make sense together, or not at all together. */
const combinationProblems = (s: Settings): string[] => {
  const found: string[] = []
  const together = (
    one: 'TLS_CERT' | 'UPSTASH_REDIS_REST_URL',
    other: 'TLS_KEY' | 'UPSTASH_REDIS_REST_TOKEN',
  ) => {
    if ((s[one] === undefined) !== (s[other] === undefined))
      found.push(`${one} and ${other} go together: one of them is missing.`)
  }
  together('TLS_CERT', 'TLS_KEY')
  together('UPSTASH_REDIS_REST_URL', 'UPSTASH_REDIS_REST_TOKEN')
  if (s.UPSTASH_REDIS_REST_URL && s.REDIS_URL)
    found.push('UPSTASH_REDIS_REST_URL and REDIS_URL are both set: requests are counted in one place.')
  if (s.INFLUXDB_URL && !s.INFLUXDB_TOKEN) found.push('INFLUXDB_TOKEN is missing: INFLUXDB_URL needs it.')
  const root = s.IOT_DOMAIN_CONFIGURATION === undefined ? undefined : topicRootProblem(s.STAGE, s.TOPIC_ROOT)
  if (root !== undefined) found.push(root)
  if (s.MQTT_URL && s.MQTT_URL !== 'none' && !(s.MQTT_USERNAME && s.MQTT_PASSWORD))
    found.push('MQTT_USERNAME and MQTT_PASSWORD are missing: MQTT_URL needs them.')
  return found
}

/** Values whose form the schema does not check. */
const formProblems = ({ TRUST_PROXY, WEBHOOK_PRIVATE_ADDRESSES, DATABASE_URL }: Settings): string[] => {
  const found: string[] = []
  if (!TRUST_PROXY.every(isAddressRange))
    found.push('TRUST_PROXY must be IP addresses or CIDR ranges separated by commas.')
  if (!WEBHOOK_PRIVATE_ADDRESSES.every(isAddressRange))
    found.push('WEBHOOK_PRIVATE_ADDRESSES must be IP addresses or CIDR ranges separated by commas.')
  // The predecessor's sqlite: addresses have a message of their own.
  if (DATABASE_URL && !/^(?:file:|libsql:|https?:|sqlite:)/.test(DATABASE_URL))
    found.push('DATABASE_URL must begin with file:, libsql:, https: or http:.')
  return found
}

/**
 * Reads the settings of an environment.
 * @returns the settings, or one sentence for each bad one; a sentence holds no value of a secret.
 */
export function parseSettings(given: Environment): { settings?: Settings | undefined; problems: string[] } {
  const problems = predecessorProblems(given)
  const { data, error } = settingsSchema.safeParse(given)
  if (error) problems.push(...error.issues.map(({ path, message }) => `${String(path[0])} ${message}.`))
  else problems.push(...combinationProblems(data), ...formProblems(data))
  return { settings: data, problems }
}
