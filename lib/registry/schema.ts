/** All tables of the registry. Times are whole milliseconds since the epoch, UTC. */
import { sql } from 'drizzle-orm'
import { blob, check, index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** AUTOINCREMENT: an id is never given twice, also after the newest device was deleted. */
export const devices = sqliteTable(
  'devices',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    name: text('name').notNull().unique(),
    description: text('description'),
    deviceType: text('device_type').notNull(),
    status: text('status', { enum: ['active', 'inactive', 'maintenance'] })
      .notNull()
      .default('active'),
    location: text('location'),
    firmwareVersion: text('firmware_version'),
    hardwareVersion: text('hardware_version'),
    /** Seconds; null takes the default of the settings. */
    offlineAfterS: integer('offline_after_s'),
    /** When the device or its will last said that it goes offline. */
    offlineAt: integer('offline_at'),
    createdAt: integer('created_at').notNull(),
    updatedAt: integer('updated_at').notNull(),
    lastSeenAt: integer('last_seen_at'),
  },
  (t) => [check('devices_status', sql`${t.status} in ('active', 'inactive', 'maintenance')`)],
)

/** API keys: only their SHA-256 is kept, with the first characters to tell them apart. */
export const credentials = sqliteTable(
  'credentials',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    deviceId: integer('device_id')
      .notNull()
      .references(() => devices.id, { onDelete: 'cascade' }),
    keyHash: text('key_hash').notNull().unique(),
    keyPrefix: text('key_prefix').notNull(),
    createdAt: integer('created_at').notNull(),
    expiresAt: integer('expires_at'),
    lastUsedAt: integer('last_used_at'),
    revokedAt: integer('revoked_at'),
  },
  (t) => [index('credentials_device').on(t.deviceId)],
)

/** Configuration of a device: the desired one as a whole, and the version the device says it runs. */
export const configurations = sqliteTable('configurations', {
  deviceId: integer('device_id')
    .primaryKey()
    .references(() => devices.id, { onDelete: 'cascade' }),
  /** Raised by one with each change. */
  version: integer('version').notNull(),
  /** JSON: `{key: {value, data_type, updated_at}}`. */
  document: text('document').notNull(),
  reportedVersion: integer('reported_version'),
  reportedAt: integer('reported_at'),
})

/** The newest known MQTT session of each client id, from the broker's lifecycle events. */
export const sessions = sqliteTable(
  'sessions',
  {
    deviceId: integer('device_id')
      .notNull()
      .references(() => devices.id, { onDelete: 'cascade' }),
    clientId: text('client_id').notNull(),
    sessionId: text('session_id').notNull(),
    /** Raised by the broker from one connection of a client id to the next. */
    version: integer('version').notNull(),
    /** When the session began or, if that was never told, ended. */
    since: integer('since').notNull(),
    endedAt: integer('ended_at'),
  },
  (t) => [primaryKey({ columns: [t.deviceId, t.clientId] })],
)

/** What happened to a device, with why; `detail` is JSON. */
export const events = sqliteTable(
  'events',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    deviceId: integer('device_id')
      .notNull()
      .references(() => devices.id, { onDelete: 'cascade' }),
    kind: text('kind').notNull(),
    detail: text('detail'),
    at: integer('at').notNull(),
  },
  (t) => [index('events_device').on(t.deviceId, t.id)],
)

/** Messages that could not become readings. Without a foreign key: the device may be unknown or gone. */
export const deadLetters = sqliteTable(
  'dead_letters',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    deviceId: integer('device_id'),
    topic: text('topic').notNull(),
    payload: blob('payload', { mode: 'buffer' }).notNull(),
    /** Bytes of `payload`, for the bound per device. */
    size: integer('size').notNull(),
    reason: text('reason').notNull(),
    receivedAt: integer('received_at').notNull(),
    /** Of the message as it came: readings without a time of their own get theirs from it, at a replay too. */
    messageId: text('message_id').notNull().default(''),
    /** Readings that count as rejected because of this letter. */
    rejected: integer('rejected').notNull().default(1),
    /** JSON list of their places in the message; null for the whole message. */
    indexes: text('indexes'),
  },
  (t) => [index('dead_letters_device').on(t.deviceId, t.id)],
)

/**
 * What a Mosquitto was told of a device: the key it knows as the password, and whether it lets the device in. Without a
 * foreign key: of a device that is gone the account has still to go.
 */
export const mqttAccounts = sqliteTable('mqtt_accounts', {
  deviceId: integer('device_id').primaryKey(),
  keyHash: text('key_hash').notNull(),
  enabled: integer('enabled', { mode: 'boolean' }).notNull(),
})

/** Work that one process does at a time, and which one that is. */
export const leases = sqliteTable('leases', {
  name: text('name').primaryKey(),
  holder: text('holder').notNull(),
  expiresAt: integer('expires_at').notNull(),
})
