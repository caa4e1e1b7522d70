/** The settings in effect, as operators see them. */
import type { Config } from '../config.ts'
import type { Settings } from '../settings.ts'

export interface SettingDescription {
  readonly name: string
  /** Null for a secret, and where nothing is set. */
  readonly value: string | number | boolean | null
  readonly source: 'default' | 'environment' | 'file' | 'generated'
  readonly secret: boolean
  readonly meaning: string
}

type Value = string | number | boolean | undefined

interface Described {
  readonly meaning: string
  /** The value in effect; a secret has none. */
  readonly value?: (config: Config) => Value
}

const list = (values: readonly string[]): Value => (values.length === 0 ? undefined : values.join(', '))
const port = (value: number | undefined): Value => value ?? 'none'
const open = (value: boolean | 'loopback'): Value => (value === 'loopback' ? 'for this computer' : value)

const hidden = '***'
const secretParameter = /token|key|secret|pass|pwd|auth|jwt|sig|cred/i

/** An address without the secrets that it may hold: a name with a password, and parameters. Undefined when it is no address. */
export const withoutSecrets = (address: string | undefined): string | undefined => {
  if (address === undefined || !URL.canParse(address)) return undefined
  const { searchParams } = new URL(address)
  const names = [...searchParams.keys()].filter((name) => secretParameter.test(name))
  // To the last @: a password may hold the characters that end a host.
  const masked = address.replace(/^([a-z][a-z0-9+.-]*:\/\/).*@/is, `$1${hidden}@`)
  if (names.length === 0) return masked
  return masked.replace(/[?#].*$/s, `?${[...new Set(names)].map((name) => `${name}=${hidden}`).join('&')}`)
}

const described: Readonly<Record<keyof Settings, Described>> = {
  STAGE: { meaning: 'local, dev, staging or prod', value: ({ stage }) => stage },
  TOPIC_ROOT: { meaning: 'First level of every MQTT topic', value: ({ topicRoot }) => topicRoot },
  HOST: {
    meaning: 'Address to listen on; outside loopback the open defaults end',
    value: ({ host }) => host,
  },
  PORT: { meaning: 'Port of HTTP', value: ({ ports }) => port(ports.http) },
  MQTT_PORT: { meaning: 'Port of MQTT', value: ({ ports }) => port(ports.mqtt) },
  MQTT_WS_PORT: { meaning: 'Port of MQTT over WebSocket', value: ({ ports }) => port(ports.mqttWs) },
  MQTT_TLS_PORT: { meaning: 'Port of MQTT over TLS', value: ({ ports }) => port(ports.mqttTls) },
  TLS_CERT: { meaning: 'File of the certificate, PEM', value: ({ tls }) => tls?.cert },
  TLS_KEY: { meaning: 'File of its key, PEM', value: ({ tls }) => tls?.key },
  TRUST_PROXY: {
    meaning: 'Proxies whose X-Forwarded-For counts',
    value: ({ trustProxy }) => list(trustProxy),
  },
  DATA_DIR: { meaning: 'Folder of all local data', value: ({ dataDir }) => dataDir },
  BACKUP_DIR: { meaning: 'Folder of backups', value: ({ backups }) => backups?.folder },
  BACKUP_EVERY_H: {
    meaning: 'Hours between two backups',
    value: ({ backups }) => backups && backups.everyMs / 3_600_000,
  },
  BACKUP_KEEP: { meaning: 'Backups that stay', value: ({ backups }) => backups?.keep },
  DATABASE_URL: {
    meaning: 'Database of the registry',
    value: ({ database }) => withoutSecrets(database.url),
  },
  DATABASE_AUTH_TOKEN: { meaning: 'Token of the database' },
  IOT_ENDPOINT: {
    meaning: 'Data plane of the broker',
    value: ({ iot }) => withoutSecrets(iot?.endpoint),
  },
  IOT_DOMAIN_CONFIGURATION: {
    meaning: 'Domain configuration of AWS IoT Core by which devices connect',
    value: ({ iotDomain }) => iotDomain?.name,
  },
  AWS_REGION: { meaning: 'Region of AWS', value: ({ iot }) => iot?.region },
  RATE_LIMIT_PER_MINUTE: {
    meaning: 'Requests per device, except telemetry; 0: no limit',
    value: ({ limits }) => limits.devicePerMinute,
  },
  RATE_LIMIT_TELEMETRY_PER_MINUTE: {
    meaning: 'Requests with telemetry per device; 0: no limit',
    value: ({ limits }) => limits.telemetryPerMinute,
  },
  RATE_LIMIT_REGISTER_PER_5_MINUTES: {
    meaning: 'Registrations per IP address; 0: no limit',
    value: ({ limits }) => limits.registerPer5Minutes,
  },
  RATE_LIMIT_IP_PER_MINUTE: {
    meaning: 'Requests of operators and failed ones per IP address; 0: no limit',
    value: ({ limits }) => limits.ipPerMinute,
  },
  UPSTASH_REDIS_REST_URL: {
    meaning: 'Upstash Redis that counts requests',
    value: ({ upstash }) => withoutSecrets(upstash?.url),
  },
  UPSTASH_REDIS_REST_TOKEN: { meaning: 'Token of Upstash Redis' },
  REDIS_URL: {
    meaning: 'Redis that counts requests',
    value: ({ redisUrl }) => withoutSecrets(redisUrl),
  },
  INFLUXDB_URL: {
    meaning: 'InfluxDB for telemetry; none: telemetry is stored with the registry',
    value: ({ influx }) => withoutSecrets(influx?.url),
  },
  INFLUXDB_TOKEN: { meaning: 'Token of InfluxDB' },
  INFLUXDB_ORG: { meaning: 'Organisation in InfluxDB', value: ({ influx }) => influx?.org },
  INFLUXDB_BUCKET: { meaning: 'Bucket in InfluxDB', value: ({ influx }) => influx?.bucket },
  SPOOL_MAX_BYTES: { meaning: 'Bytes that the spool holds at most', value: ({ spool }) => spool.maxBytes },
  SPOOL_QUEUE_URL: {
    meaning: 'SQS queue that is the spool',
    value: ({ queue }) => withoutSecrets(queue?.url),
  },
  SPOOL_MAX_AGE_S: {
    meaning: 'Seconds that a message may wait in the spool',
    value: ({ spool }) => spool.maxAgeS,
  },
  MQTT_URL: {
    meaning: 'Mosquitto of your own; empty: the embedded broker; none: no MQTT',
    value: ({ mqtt }) => (typeof mqtt === 'object' ? withoutSecrets(mqtt.url) : mqtt),
  },
  MQTT_USERNAME: {
    meaning: 'Account of this server there',
    value: ({ mqtt }) => (typeof mqtt === 'object' ? mqtt.username : undefined),
  },
  MQTT_PASSWORD: { meaning: 'Password of that account' },
  ADMIN_TOKEN: { meaning: 'Token of the operators' },
  WEBHOOK_SIGNING_KEY: { meaning: 'Key from which the secrets of webhooks are derived' },
  WEBHOOK_PRIVATE_ADDRESSES: {
    meaning: 'Private addresses that webhooks may call',
    value: ({ webhooks }) => list(webhooks.privateAddresses),
  },
  WEBHOOK_QUEUE_URL: {
    meaning: 'SQS queue that starts the delivery of webhooks',
    value: ({ webhooks }) => withoutSecrets(webhooks.queue?.url),
  },
  METRICS_TOKEN: { meaning: 'Token that may read /metrics and nothing else' },
  ENROLLMENT_KEY: { meaning: 'Key for registering devices' },
  OPEN_REGISTRATION: {
    meaning: 'Whether devices may register without a key',
    value: ({ openRegistration }) => open(openRegistration),
  },
  PUBLIC_TELEMETRY_READS: {
    meaning: 'Whether telemetry may be read without a credential',
    value: ({ publicTelemetryReads }) => open(publicTelemetryReads),
  },
  CORS_ORIGINS: {
    meaning: 'Origins of browser applications that may call the API',
    value: ({ corsOrigins }) => list(corsOrigins),
  },
  API_KEY_LENGTH: { meaning: 'Characters of a new API key', value: ({ apiKeyLength }) => apiKeyLength },
  RETENTION_DAYS: {
    meaning: 'Days that telemetry is kept; 0: for ever',
    value: ({ retentionDays }) => retentionDays,
  },
  OFFLINE_AFTER_S: {
    meaning: 'Seconds without a message after which a device is offline',
    value: ({ offlineAfterS }) => offlineAfterS,
  },
  MAX_CLOCK_AHEAD_S: {
    meaning: "Seconds that a device's clock may be ahead of this server",
    value: ({ maxClockAheadS }) => maxClockAheadS,
  },
  COMMAND_POLL_MAX_S: {
    meaning: "Seconds that a device's call for commands is held",
    value: ({ commandPollMaxS }) => commandPollMaxS,
  },
  LOG_LEVEL: { meaning: 'debug, info, warn, error or silent', value: ({ logLevel }) => logLevel },
}

/** Secrets that this server makes where the settings have none. */
const generated: Readonly<Record<string, (config: Config) => string | undefined>> = {
  ADMIN_TOKEN: ({ adminToken }) => adminToken,
  WEBHOOK_SIGNING_KEY: ({ webhooks }) => webhooks.signingKey,
}

/** Every setting. No value of a secret is among them. */
export function describeSettings(config: Config): SettingDescription[] {
  return Object.entries(described).map(([name, { meaning, value }]) => {
    const isGenerated = generated[name]?.(config) !== undefined && config.sources[name] === undefined
    return {
      name,
      value: value?.(config) ?? null,
      source: isGenerated ? 'generated' : (config.sources[name] ?? 'default'),
      secret: value === undefined,
      meaning,
    }
  })
}
