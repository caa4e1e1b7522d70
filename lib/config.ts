/**
 * The settings: the only file that reads the environment. A bad setting stops the start and is named, one sentence
 * each; a predecessor's name is answered with the name to use.
 */
import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import * as z from 'zod'
import { type AwsAccess, accessOf } from './aws.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Thrown by {@link loadConfig}: every bad setting, one sentence each, without the value of a secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: string[]
  constructor(problems: string[]) {
    super(problems.join('\n'))
    this.problems = problems
  }
}

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

const secret = (min: number, what: string) =>
  z.string().min(min, `must have at least ${min} characters${what}`)

const Settings = z.object({
  STAGE: z.enum(['local', 'dev', 'staging', 'prod'], 'must be local, dev, staging or prod').default('local'),
  HOST: z.string().min(1).default('127.0.0.1'),
  PORT: port.prefault('5000'),
  MQTT_PORT: port.prefault('1883'),
  MQTT_WS_PORT: port.prefault('9001'),
  MQTT_TLS_PORT: port.prefault('8883'),
  TLS_CERT: z.string().optional(),
  TLS_KEY: z.string().optional(),
  TRUST_PROXY: list.prefault(''),
  DATA_DIR: z.string().min(1).default('.iotflow'),
  DATABASE_URL: z.string().optional(),
  DATABASE_AUTH_TOKEN: z.string().optional(),
  IOT_ENDPOINT: z
    .string()
    .transform((text) => (/^https?:/.test(text) ? text : `https://${text}`))
    .pipe(z.url({ protocol: /^https?$/, error: 'must be the host of an AWS IoT data plane, or its URL' }))
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
  ADMIN_TOKEN: secret(24, '').optional(),
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
  LOG_LEVEL: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'], 'must be debug, info, warn, error or silent')
    .default('info'),
})

/** Names and forms of the Flask predecessor, with what takes their place. */
const predecessors = (env: Environment): string[] => {
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

export type Stage = 'local' | 'dev' | 'staging' | 'prod'
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

export interface Config {
  readonly stage: Stage
  readonly host: string
  /** True while `host` is a loopback address. */
  readonly loopback: boolean
  /** TCP ports; 0 picks a free one, undefined leaves the listener out. */
  readonly ports: {
    readonly http: number | undefined
    readonly mqtt: number | undefined
    readonly mqttWs: number | undefined
    readonly mqttTls: number | undefined
  }
  /** Paths of PEM files; both or neither. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined
  /** Addresses or CIDR ranges of proxies whose X-Forwarded-For counts. */
  readonly trustProxy: readonly string[]
  /** Absolute path. */
  readonly dataDir: string
  readonly database: { readonly url: string; readonly authToken: string | undefined }
  /** The data plane of the broker; undefined where there is none. Without credentials those of the environment count. */
  readonly iot:
    | {
        readonly endpoint: string
        readonly region: string
        readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string }
      }
    | undefined
  /** Requests per window; 0 turns the limit off. */
  readonly limits: {
    readonly devicePerMinute: number
    readonly telemetryPerMinute: number
    readonly registerPer5Minutes: number
    readonly ipPerMinute: number
  }
  readonly upstash: { readonly url: string; readonly token: string } | undefined
  /** redis: or rediss:, where `upstash` is not set. */
  readonly redisUrl: string | undefined
  /** Undefined: telemetry is kept beside the registry. */
  readonly influx:
    | { readonly url: string; readonly token: string; readonly org: string; readonly bucket: string }
    | undefined
  /** What waits while InfluxDB is away: at most so many bytes, and nothing older. */
  readonly spool: { readonly maxBytes: number; readonly maxAgeS: number }
  /** An SQS queue for what the stores cannot take, where there is no disk; with the role of the function. */
  readonly queue: (AwsAccess & { readonly url: string }) | undefined
  /** A broker of one's own; undefined: the embedded one, `none`: no MQTT. */
  readonly mqtt: MqttConnection | 'none' | undefined
  readonly adminToken: string | undefined
  readonly enrollmentKeys: readonly string[]
  readonly openRegistration: boolean
  readonly publicTelemetryReads: boolean
  readonly corsOrigins: readonly string[]
  /** Characters of a new API key, 24–64. */
  readonly apiKeyLength: number
  /** 0 keeps telemetry for ever. */
  readonly retentionDays: number
  /** Default per device, seconds. */
  readonly offlineAfterS: number
  readonly logLevel: LogLevel
}

/** A broker beside the layer, with the layer's own account there. */
export interface MqttConnection {
  /** mqtt, mqtts, ws or wss. */
  readonly url: string
  readonly username: string
  readonly password: string
}

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)

const isAddressRange = (text: string) => {
  const [address = '', bits, ...rest] = text.split('/')
  const version = isIP(address)
  if (version === 0 || rest.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
}

/**
 * Reads and checks the settings.
 * @throws {ConfigError} naming every bad setting.
 */
export function loadConfig(env: Environment = process.env): Config {
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ''),
  )
  const problems = predecessors(given)
  const parsed = Settings.safeParse(given)
  if (!parsed.success) {
    for (const issue of parsed.error.issues) problems.push(`${String(issue.path[0])} ${issue.message}.`)
    throw new ConfigError(problems)
  }
  const s = parsed.data
  if ((s.TLS_CERT === undefined) !== (s.TLS_KEY === undefined)) {
    problems.push('TLS_CERT and TLS_KEY go together: one of them is missing.')
  }
  if ((s.UPSTASH_REDIS_REST_URL === undefined) !== (s.UPSTASH_REDIS_REST_TOKEN === undefined)) {
    problems.push('UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN go together: one of them is missing.')
  }
  if (s.UPSTASH_REDIS_REST_URL && s.REDIS_URL) {
    problems.push('UPSTASH_REDIS_REST_URL and REDIS_URL are both set: requests are counted in one place.')
  }
  if (s.INFLUXDB_URL && !s.INFLUXDB_TOKEN) problems.push('INFLUXDB_TOKEN is missing: INFLUXDB_URL needs it.')
  if (s.MQTT_URL && s.MQTT_URL !== 'none' && !(s.MQTT_USERNAME && s.MQTT_PASSWORD)) {
    problems.push('MQTT_USERNAME and MQTT_PASSWORD are missing: MQTT_URL needs them.')
  }
  if (s.TRUST_PROXY.some((proxy) => !isAddressRange(proxy))) {
    problems.push('TRUST_PROXY must be IP addresses or CIDR ranges separated by commas.')
  }
  if (
    s.DATABASE_URL &&
    !/^(file:|libsql:|https?:)/.test(s.DATABASE_URL) &&
    !s.DATABASE_URL.startsWith('sqlite:')
  ) {
    problems.push('DATABASE_URL must begin with file:, libsql:, https: or http:.')
  }
  if (problems.length > 0) throw new ConfigError(problems)

  const loopback = isLoopback(s.HOST)
  const open = s.STAGE === 'local' && loopback
  const dataDir = resolve(s.DATA_DIR)
  return {
    stage: s.STAGE,
    host: s.HOST,
    loopback,
    ports: { http: s.PORT, mqtt: s.MQTT_PORT, mqttWs: s.MQTT_WS_PORT, mqttTls: s.MQTT_TLS_PORT },
    tls: s.TLS_CERT && s.TLS_KEY ? { cert: s.TLS_CERT, key: s.TLS_KEY } : undefined,
    trustProxy: s.TRUST_PROXY,
    dataDir,
    database: {
      url: s.DATABASE_URL ?? `file:${join(dataDir, 'registry.db')}`,
      authToken: s.DATABASE_AUTH_TOKEN,
    },
    iot: s.IOT_ENDPOINT ? { endpoint: s.IOT_ENDPOINT, region: s.AWS_REGION ?? 'us-east-1' } : undefined,
    limits: {
      devicePerMinute: s.RATE_LIMIT_PER_MINUTE,
      telemetryPerMinute: s.RATE_LIMIT_TELEMETRY_PER_MINUTE,
      registerPer5Minutes: s.RATE_LIMIT_REGISTER_PER_5_MINUTES ?? (s.STAGE === 'local' ? 1000 : 10),
      ipPerMinute: s.RATE_LIMIT_IP_PER_MINUTE,
    },
    upstash:
      s.UPSTASH_REDIS_REST_URL && s.UPSTASH_REDIS_REST_TOKEN
        ? { url: s.UPSTASH_REDIS_REST_URL, token: s.UPSTASH_REDIS_REST_TOKEN }
        : undefined,
    redisUrl: s.REDIS_URL,
    influx:
      s.INFLUXDB_URL && s.INFLUXDB_TOKEN
        ? {
            url: s.INFLUXDB_URL.replace(/\/+$/, ''),
            token: s.INFLUXDB_TOKEN,
            org: s.INFLUXDB_ORG,
            bucket: s.INFLUXDB_BUCKET,
          }
        : undefined,
    queue: s.SPOOL_QUEUE_URL ? { url: s.SPOOL_QUEUE_URL, ...accessOf(given) } : undefined,
    spool: { maxBytes: s.SPOOL_MAX_BYTES, maxAgeS: s.SPOOL_MAX_AGE_S },
    mqtt:
      s.MQTT_URL === undefined || s.MQTT_URL === 'none'
        ? s.MQTT_URL
        : { url: s.MQTT_URL, username: s.MQTT_USERNAME ?? '', password: s.MQTT_PASSWORD ?? '' },
    adminToken: s.ADMIN_TOKEN,
    enrollmentKeys: s.ENROLLMENT_KEY,
    openRegistration: s.OPEN_REGISTRATION ?? open,
    publicTelemetryReads: s.PUBLIC_TELEMETRY_READS ?? open,
    corsOrigins: s.CORS_ORIGINS,
    apiKeyLength: s.API_KEY_LENGTH,
    retentionDays: s.RETENTION_DAYS,
    offlineAfterS: s.OFFLINE_AFTER_S,
    logLevel: s.LOG_LEVEL,
  }
}

/** Where telemetry stands that is kept beside the registry; with InfluxDB its accounts and its spool. */
export const embeddedPlace = ({
  database: { url, authToken },
  dataDir,
}: Config): { file: string } | { url: string; authToken: string | undefined } =>
  url.startsWith('file:') ? { file: join(dataDir, 'telemetry.db') } : { url, authToken }

/** Adds the settings of an `.env` file to the environment; what the environment already has wins, no file is fine. */
export function loadEnvFile(path: string): void {
  try {
    process.loadEnvFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/** Names of every setting, for the test that holds `.env.example` and the README to them. */
export const settingNames: readonly string[] = Object.keys(Settings.shape)
