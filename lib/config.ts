/**
 * The settings. In `lib/`, only this file reads the environment. Every bad setting is named in one sentence and stops the start;
 * for the predecessor's names that sentence tells the name to use.
 */
import { join, resolve } from 'node:path'
import { type AwsAccess, accessOf } from './lambda/aws.ts'
import { isLoopback } from './loopback.ts'
import { parseSettings, type Settings, settingsSchema } from './settings.ts'
import type { deployedStages } from './stages.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** {@link loadConfig} throws it. Names every bad setting in one sentence each, and holds no value of a secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: string[]
  constructor(problems: string[]) {
    super(problems.join('\n'))
    this.problems = problems
  }
}

export type Stage = 'local' | (typeof deployedStages)[number]
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

export interface Config {
  readonly stage: Stage
  /** First level of every topic. */
  readonly topicRoot: string
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
  /** Addresses or CIDR ranges of proxies whose X-Forwarded-For is believed. */
  readonly trustProxy: readonly string[]
  /** Absolute path. */
  readonly dataDir: string
  /** Undefined: the server makes no backups by itself. */
  readonly backups: BackupSettings | undefined
  readonly database: { readonly url: string; readonly authToken: string | undefined }
  /** The data plane of the broker; undefined when there is none. Without credentials the SDK looks for some. */
  readonly iot:
    | {
        readonly endpoint: string
        readonly region: string
        readonly credentials?: {
          readonly accessKeyId: string
          readonly secretAccessKey: string
          readonly sessionToken?: string
        }
      }
    | undefined
  /** The domain configuration by which devices reach AWS IoT Core; undefined where the broker is another. */
  readonly iotDomain: (AwsAccess & { readonly name: string; readonly controlPlane: string }) | undefined
  /** Requests per window; 0 turns the limit off. */
  readonly limits: {
    readonly devicePerMinute: number
    readonly telemetryPerMinute: number
    readonly registerPer5Minutes: number
    readonly ipPerMinute: number
  }
  readonly upstash: { readonly url: string; readonly token: string } | undefined
  /** redis: or rediss:; only without `upstash`. */
  readonly redisUrl: string | undefined
  /** Undefined: the embedded store holds the telemetry. */
  readonly influx:
    | { readonly url: string; readonly token: string; readonly org: string; readonly bucket: string }
    | undefined
  /** Bounds of the readings that wait while InfluxDB is unavailable. */
  readonly spool: { readonly maxBytes: number; readonly maxAgeS: number }
  /** The SQS queue for readings that the store cannot take, in stages without a disk; called with the function's role. */
  readonly queue: (AwsAccess & { readonly url: string }) | undefined
  /** An external broker such as Mosquitto; undefined for the embedded broker, `none` for no MQTT. */
  readonly mqtt: MqttConnection | 'none' | undefined
  readonly adminToken: string | undefined
  /** May read the metrics and nothing else. */
  readonly metricsToken: string | undefined
  readonly webhooks: {
    /** The secrets of all webhooks are derived from it; undefined: nothing is sent. */
    readonly signingKey: string | undefined
    /** Private addresses, or CIDR ranges of them, that may be called. */
    readonly privateAddresses: readonly string[]
    /** The SQS queue whose messages start the function that sends; called with the function's role. */
    readonly queue: (AwsAccess & { readonly url: string }) | undefined
  }
  readonly enrollmentKeys: readonly string[]
  /** Who may register without a key: everybody, nobody, or `loopback`: requests whose Host is a loopback name or address. */
  readonly openRegistration: boolean | 'loopback'
  /** Who may read telemetry without a credential, likewise. */
  readonly publicTelemetryReads: boolean | 'loopback'
  readonly corsOrigins: readonly string[]
  /** Characters of a new API key, 24–64. */
  readonly apiKeyLength: number
  /** 0 keeps telemetry forever. */
  readonly retentionDays: number
  /** Default per device, seconds. */
  readonly offlineAfterS: number
  /** How far ahead of this server a device's clock is believed, seconds. */
  readonly maxClockAheadS: number
  /** Longest time that a device's call for commands is held, seconds; 0: not at all. */
  readonly commandPollMaxS: number
  readonly logLevel: LogLevel
  /** Where each setting comes from that has no default value. */
  readonly sources: Readonly<Record<string, SettingSource>>
}

/** `file`: `.env`. */
export type SettingSource = 'environment' | 'file'

/** Backups that the server makes by itself. */
export interface BackupSettings {
  /** Absolute path. */
  readonly folder: string
  /** Milliseconds. */
  readonly everyMs: number
  /** How many of them stay. */
  readonly keep: number
}

/** An external broker, with the account of this server there. */
export interface MqttConnection {
  /** mqtt, mqtts, ws or wss. */
  readonly url: string
  readonly username: string
  readonly password: string
}

/** The credentials of the environment, when it has some. */
const credentialsOf = (given: Environment): Pick<NonNullable<Config['iot']>, 'credentials'> => {
  const { accessKeyId, secretAccessKey, sessionToken } = accessOf(given)
  if (accessKeyId === '') return {}
  return { credentials: { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) } }
}

/** The settings of everything outside this process: databases, brokers, Redis and InfluxDB. */
const backendsOf = (
  s: Settings,
  dataDir: string,
  given: Environment,
): Pick<
  Config,
  | 'database'
  | 'iot'
  | 'iotDomain'
  | 'upstash'
  | 'redisUrl'
  | 'influx'
  | 'queue'
  | 'spool'
  | 'mqtt'
  | 'webhooks'
> => ({
  database: {
    url: s.DATABASE_URL ?? `file:${join(dataDir, 'registry.db')}`,
    authToken: s.DATABASE_AUTH_TOKEN,
  },
  iot: s.IOT_ENDPOINT
    ? { endpoint: s.IOT_ENDPOINT, region: s.AWS_REGION ?? 'us-east-1', ...credentialsOf(given) }
    : undefined,
  iotDomain: s.IOT_DOMAIN_CONFIGURATION
    ? {
        name: s.IOT_DOMAIN_CONFIGURATION,
        controlPlane: given.AWS_ENDPOINT_URL ?? `https://iot.${accessOf(given).region}.amazonaws.com`,
        ...accessOf(given),
      }
    : undefined,
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
  webhooks: {
    signingKey: s.WEBHOOK_SIGNING_KEY,
    privateAddresses: s.WEBHOOK_PRIVATE_ADDRESSES,
    queue: s.WEBHOOK_QUEUE_URL ? { url: s.WEBHOOK_QUEUE_URL, ...accessOf(given) } : undefined,
  },
  spool: { maxBytes: s.SPOOL_MAX_BYTES, maxAgeS: s.SPOOL_MAX_AGE_S },
  mqtt:
    s.MQTT_URL === undefined || s.MQTT_URL === 'none'
      ? s.MQTT_URL
      : { url: s.MQTT_URL, username: s.MQTT_USERNAME ?? '', password: s.MQTT_PASSWORD ?? '' },
})

/** Who may call, and how often. */
const accessRulesOf = (s: Settings, loopback: boolean) => {
  const openByDefault: boolean | 'loopback' = s.STAGE === 'local' && loopback ? 'loopback' : false
  return {
    limits: {
      devicePerMinute: s.RATE_LIMIT_PER_MINUTE,
      telemetryPerMinute: s.RATE_LIMIT_TELEMETRY_PER_MINUTE,
      registerPer5Minutes: s.RATE_LIMIT_REGISTER_PER_5_MINUTES ?? (s.STAGE === 'local' ? 1000 : 10),
      ipPerMinute: s.RATE_LIMIT_IP_PER_MINUTE,
    },
    trustProxy: s.TRUST_PROXY,
    adminToken: s.ADMIN_TOKEN,
    metricsToken: s.METRICS_TOKEN,
    enrollmentKeys: s.ENROLLMENT_KEY,
    openRegistration: s.OPEN_REGISTRATION ?? openByDefault,
    publicTelemetryReads: s.PUBLIC_TELEMETRY_READS ?? openByDefault,
    corsOrigins: s.CORS_ORIGINS,
  }
}

/**
 * Reads and checks the settings; an empty one counts as absent.
 * @throws {ConfigError} with every bad setting.
 */
export function loadConfig(env: Environment = process.env): Config {
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ''),
  )
  const { settings: s, problems } = parseSettings(given)
  if (s === undefined || problems.length > 0) throw new ConfigError(problems)
  const loopback = isLoopback(s.HOST)
  const dataDir = resolve(s.DATA_DIR)
  return {
    stage: s.STAGE,
    topicRoot: s.TOPIC_ROOT,
    host: s.HOST,
    loopback,
    ports: { http: s.PORT, mqtt: s.MQTT_PORT, mqttWs: s.MQTT_WS_PORT, mqttTls: s.MQTT_TLS_PORT },
    tls: s.TLS_CERT && s.TLS_KEY ? { cert: s.TLS_CERT, key: s.TLS_KEY } : undefined,
    dataDir,
    backups: s.BACKUP_DIR
      ? { folder: resolve(s.BACKUP_DIR), everyMs: s.BACKUP_EVERY_H * 3_600_000, keep: s.BACKUP_KEEP }
      : undefined,
    ...backendsOf(s, dataDir, given),
    ...accessRulesOf(s, loopback),
    apiKeyLength: s.API_KEY_LENGTH,
    retentionDays: s.RETENTION_DAYS,
    offlineAfterS: s.OFFLINE_AFTER_S,
    maxClockAheadS: s.MAX_CLOCK_AHEAD_S,
    commandPollMaxS: s.COMMAND_POLL_MAX_S ?? (s.STAGE === 'local' ? 25 : 0),
    logLevel: s.LOG_LEVEL,
    sources: sourcesOf(given),
  }
}

/** The level of the log, which a process needs before its other settings; a wrong one is an error of {@link loadConfig}. */
export const logLevelOf = (env: Environment = process.env): LogLevel =>
  settingsSchema.shape.LOG_LEVEL.safeParse(env.LOG_LEVEL || undefined).data ?? 'info'

/** The settings that `.env` has added to the environment. */
const envFile = { names: new Set<string>() }

const sourcesOf = (given: Environment): Config['sources'] =>
  Object.fromEntries(
    settingNames
      .filter((name) => given[name] !== undefined)
      .map((name) => [name, envFile.names.has(name) ? 'file' : 'environment']),
  )

/** The database of the embedded store; with InfluxDB it holds the ledger and the spool. */
export const embeddedDatabaseLocation = ({
  database: { url, authToken },
  dataDir,
}: Config): { file: string } | { url: string; authToken: string | undefined } =>
  url.startsWith('file:') ? { file: join(dataDir, 'telemetry.db') } : { url, authToken }

/** Adds the settings of an `.env` file to the environment, whose own values win. A missing file is no error. */
export function loadEnvFile(path: string): void {
  const before = new Set(Object.keys(process.env))
  try {
    process.loadEnvFile(path)
    for (const name of Object.keys(process.env)) if (!before.has(name)) envFile.names.add(name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/** The names of all settings; a test compares `.env.example` and docs/settings.md with them. */
export const settingNames: readonly string[] = Object.keys(settingsSchema.shape)
