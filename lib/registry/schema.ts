/** All tables of the registry. Times are whole milliseconds since the epoch, UTC. */
import { sql } from 'drizzle-orm'
import {
  blob,
  check,
  index,
  integer,
  primaryKey,
  real,
  sqliteTable,
  text,
  uniqueIndex,
} from 'drizzle-orm/sqlite-core'

/** AUTOINCREMENT never gives an id twice, even after the newest device was deleted. */
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
    /** IANA name; null means UTC. */
    timezone: text('timezone'),
    firmwareVersion: text('firmware_version'),
    hardwareVersion: text('hardware_version'),
    /** Seconds; null means the default of the settings. */
    offlineAfterS: integer('offline_after_s'),
    /** Time of the last offline message of the device or of its will. */
    offlineAt: integer('offline_at'),
    createdAt: integer('created_at').notNull(),
    updatedAt: integer('updated_at').notNull(),
    lastSeenAt: integer('last_seen_at'),
    /** The kind of the newest presence event; null when there was none, which counts as offline. */
    presence: text('presence', { enum: ['online', 'offline'] }),
    /** Presence events that are kept, or more after old ones were deleted: above a bound they are pruned and counted again. */
    presenceEvents: integer('presence_events').notNull().default(0),
    /** What a search compares; see `foldText`. Triggers keep `device_texts`, an index of every three characters in a row. */
    nameFolded: text('name_folded'),
    locationFolded: text('location_folded'),
    descriptionFolded: text('description_folded'),
    /** JSON object of texts; null for none. */
    labels: text('labels'),
  },
  (t) => [
    check('devices_status', sql`${t.status} in ('active', 'inactive', 'maintenance')`),
    // Answers how many devices each status and each type has, without the rows.
    index('devices_status_type').on(t.status, t.deviceType),
  ],
)

/** How many devices each status and each type has. Triggers on `devices` keep it; nothing else writes it. */
export const deviceCounts = sqliteTable(
  'device_counts',
  {
    status: text('status', { enum: ['active', 'inactive', 'maintenance'] }).notNull(),
    deviceType: text('device_type').notNull(),
    count: integer('count').notNull(),
  },
  (t) => [primaryKey({ columns: [t.status, t.deviceType] })],
)

/** The labels of each device as rows, for selectors. Triggers on `devices.labels` keep them; nothing else writes them. */
export const deviceLabels = sqliteTable(
  'device_labels',
  {
    deviceId: integer('device_id')
      .notNull()
      .references(() => devices.id, { onDelete: 'cascade' }),
    key: text('key').notNull(),
    value: text('value').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.deviceId, t.key] }),
    index('device_labels_key_value').on(t.key, t.value, t.deviceId),
  ],
)

/** Devices that were deleted without their telemetry, which operators reach under the old id. */
export const deletedDevices = sqliteTable('deleted_devices', {
  id: integer('id').primaryKey(),
  name: text('name').notNull(),
  nameFolded: text('name_folded').notNull(),
  deviceType: text('device_type').notNull(),
  timezone: text('timezone'),
  deletedAt: integer('deleted_at').notNull(),
})

/** API keys: the table keeps their SHA-256 and, to tell them apart, their first characters. */
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
    /** Seconds that the key lives, where it was made with an end: a rotation by the device gives the next key the same. */
    lifetimeS: integer('lifetime_s'),
    /** When operators were warned that the key expires soon. */
    warnedAt: integer('warned_at'),
    /** When the expiry was noticed: it has become an event, and the sessions of the key have ended. */
    endedAt: integer('ended_at'),
  },
  (t) => [
    index('credentials_device').on(t.deviceId),
    index('credentials_expiring')
      .on(t.expiresAt)
      .where(sql`${t.expiresAt} is not null and ${t.endedAt} is null and ${t.revokedAt} is null`),
  ],
)

/** Keys with which devices register themselves: the table keeps their SHA-256 and their first characters. */
export const enrollmentKeys = sqliteTable(
  'enrollment_keys',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    name: text('name').notNull(),
    keyHash: text('key_hash').notNull().unique(),
    keyPrefix: text('key_prefix').notNull(),
    /** The only type that may be registered with it; null for any. */
    deviceType: text('device_type'),
    /** Devices that may be registered with it; null for any number. */
    maxDevices: integer('max_devices'),
    /** Devices that were registered with it. */
    used: integer('used').notNull().default(0),
    createdAt: integer('created_at').notNull(),
    expiresAt: integer('expires_at'),
    lastUsedAt: integer('last_used_at'),
    revokedAt: integer('revoked_at'),
  },
  // The check makes the whole registration fail that would be one too many, also when many come at the same time.
  (t) => [check('enrollment_keys_used', sql`${t.used} <= coalesce(${t.maxDevices}, ${t.used})`)],
)

/** Configuration of each device: the desired one as a whole, and the version that the device reports. */
export const configurations = sqliteTable(
  'configurations',
  {
    deviceId: integer('device_id')
      .primaryKey()
      .references(() => devices.id, { onDelete: 'cascade' }),
    /** Each change raises it by one. */
    version: integer('version').notNull(),
    /** JSON: `{key: {value, data_type, updated_at}}`. */
    document: text('document').notNull(),
    reportedVersion: integer('reported_version'),
    reportedAt: integer('reported_at'),
    /** The newest version that the broker has accepted; an older one than `version` is still to be published. */
    publishedVersion: integer('published_version').notNull().default(0),
  },
  (t) => [
    index('configurations_unpublished').on(t.deviceId).where(sql`${t.publishedVersion} < ${t.version}`),
  ],
)

/** Changes of the configuration of many devices. */
export const fleetConfigurations = sqliteTable('fleet_configurations', {
  id: integer('id').primaryKey({ autoIncrement: true }),
  /** JSON: which devices were asked for. */
  filter: text('filter').notNull(),
  /** JSON: entries by key, null for a key to delete. */
  changes: text('changes').notNull(),
  targets: integer('targets').notNull(),
  createdAt: integer('created_at').notNull(),
  /** When the last device was changed. */
  appliedAt: integer('applied_at'),
})

/** The devices of such a change, with the version that it made of each configuration. */
export const fleetConfigurationTargets = sqliteTable(
  'fleet_configuration_targets',
  {
    fleetConfigurationId: integer('fleet_configuration_id')
      .notNull()
      .references(() => fleetConfigurations.id, { onDelete: 'cascade' }),
    deviceId: integer('device_id')
      .notNull()
      .references(() => devices.id, { onDelete: 'cascade' }),
    /** Null until it is applied; 0 when the configuration would have become too large. */
    version: integer('version'),
  },
  (t) => [
    primaryKey({ columns: [t.fleetConfigurationId, t.deviceId] }),
    index('fleet_configuration_targets_device').on(t.deviceId),
    index('fleet_configuration_targets_waiting')
      .on(t.fleetConfigurationId, t.deviceId)
      .where(sql`${t.version} is null`),
  ],
)

/** The newest known MQTT session of each client id, from the lifecycle events of the broker. */
export const sessions = sqliteTable(
  'sessions',
  {
    deviceId: integer('device_id')
      .notNull()
      .references(() => devices.id, { onDelete: 'cascade' }),
    clientId: text('client_id').notNull(),
    sessionId: text('session_id').notNull(),
    /** The broker raises it with each connection of a client id. */
    version: integer('version').notNull(),
    /** Time at which the session began or, when no such event arrived, ended. */
    since: integer('since').notNull(),
    endedAt: integer('ended_at'),
  },
  (t) => [primaryKey({ columns: [t.deviceId, t.clientId] })],
)

/** Events of devices; `detail` says why, as JSON. */
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
    /** Of an event that repeats: what its repetitions share, such as a code and a day. They are one row. */
    key: text('key'),
    /** How often it happened. */
    count: integer('count').notNull().default(1),
    /** When it happened last; null for an event that does not repeat. */
    lastAt: integer('last_at'),
  },
  (t) => [
    index('events_device').on(t.deviceId, t.id),
    uniqueIndex('events_repeated').on(t.deviceId, t.kind, t.key).where(sql`${t.key} is not null`),
    index('events_repeated_at').on(t.at).where(sql`${t.key} is not null`),
    index('events_presence_at').on(t.at).where(sql`${t.kind} in ('online', 'offline')`),
  ],
)

/**
 * Names of the fields that each device has used; a row with an empty name says that those of the store are here too. No foreign
 * key: telemetry may outlive its device.
 */
export const fieldNames = sqliteTable(
  'field_names',
  {
    deviceId: integer('device_id').notNull(),
    name: text('name').notNull(),
    type: text('type', { enum: ['number', 'text', 'boolean'] }).notNull(),
    firstSeen: integer('first_seen').notNull(),
    lastSeen: integer('last_seen').notNull(),
  },
  (t) => [primaryKey({ columns: [t.deviceId, t.name, t.type] })],
)

/** Messages that could not become readings. No foreign key: the device may be unknown or deleted. */
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
    /** Id of the original message: readings without a time get theirs from it, also when the message is replayed. */
    messageId: text('message_id').notNull().default(''),
    /** Number of readings that count as rejected because of this dead letter. */
    rejected: integer('rejected').notNull().default(1),
    /** JSON list of their indexes in the message; null for the whole message. */
    indexes: text('indexes'),
  },
  (t) => [index('dead_letters_device').on(t.deviceId, t.id)],
)

/**
 * Accounts at Mosquitto, as last sent there: the key that is the password, and whether the device may connect. No foreign
 * key: the account of a deleted device has to be removed at Mosquitto later.
 */
export const mqttAccounts = sqliteTable('mqtt_accounts', {
  deviceId: integer('device_id').primaryKey(),
  keyHash: text('key_hash').notNull(),
  enabled: integer('enabled', { mode: 'boolean' }).notNull(),
})

/** States of a command; the last four are final. */
export const commandStates = [
  'queued',
  'sent',
  'acknowledged',
  'succeeded',
  'failed',
  'expired',
  'cancelled',
] as const

/** Commands to devices. A device gets its commands in the order of `id`; everybody else knows them by `commandId`. */
export const commands = sqliteTable(
  'commands',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    commandId: text('command_id').notNull().unique(),
    deviceId: integer('device_id')
      .notNull()
      .references(() => devices.id, { onDelete: 'cascade' }),
    /** Of a command that went to several devices at once. */
    fleetCommandId: text('fleet_command_id'),
    command: text('command').notNull(),
    /** JSON; null when there are none. */
    params: text('params'),
    /** The last level of the topic; null for `…/commands` itself. */
    channel: text('channel', { enum: ['control', 'config', 'firmware'] }),
    status: text('status', { enum: commandStates }).notNull().default('queued'),
    issuedAt: integer('issued_at').notNull(),
    expiresAt: integer('expires_at').notNull(),
    maxAttempts: integer('max_attempts').notNull().default(1),
    attempts: integer('attempts').notNull().default(0),
    /** Times of the first and of the last delivery. */
    sentAt: integer('sent_at'),
    lastSentAt: integer('last_sent_at'),
    acknowledgedAt: integer('acknowledged_at'),
    /** Time of the final state; null until then. */
    finishedAt: integer('finished_at'),
    /** What the device answered last, as JSON. */
    result: text('result'),
    /** Sessions that the last delivery reached, each between blanks; null where the broker does not tell. */
    sessions: text('sessions'),
    /** Whether a client of the device has confirmed the last delivery; null where the broker does not tell. */
    receipt: text('receipt', { enum: ['awaited', 'received'] }),
    /** A process delivers commands of this device until then; null when none does. */
    busyUntil: integer('busy_until'),
    /** Time at which the sweep delivers it again; null when nothing is due. */
    retryAt: integer('retry_at'),
  },
  (t) => [
    index('commands_device').on(t.deviceId, t.id),
    // A process that was killed, and a second one beside it, may release the same devices again.
    uniqueIndex('commands_fleet')
      .on(t.fleetCommandId, t.deviceId)
      .where(sql`${t.fleetCommandId} is not null`),
    // Holds all that the progress of a fleet command is counted from.
    index('commands_fleet_progress')
      .on(t.fleetCommandId, t.status, t.finishedAt, t.expiresAt, t.sentAt)
      .where(sql`${t.fleetCommandId} is not null`),
    index('commands_unfinished').on(t.deviceId, t.id).where(sql`${t.finishedAt} is null`),
    index('commands_expiry').on(t.expiresAt).where(sql`${t.finishedAt} is null`),
    index('commands_finished').on(t.finishedAt).where(sql`${t.finishedAt} is not null`),
    index('commands_retry').on(t.retryAt).where(sql`${t.retryAt} is not null`),
  ],
)

/** States of a fleet command; the last three are final. */
export const fleetCommandStates = ['canary', 'running', 'finished', 'cancelled', 'aborted'] as const

/** Commands to many devices. The command of each device is a row of `commands`, made when its turn comes. */
export const fleetCommands = sqliteTable(
  'fleet_commands',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    fleetCommandId: text('fleet_command_id').notNull().unique(),
    command: text('command').notNull(),
    /** JSON; null when there are none. */
    params: text('params'),
    channel: text('channel', { enum: ['control', 'config', 'firmware'] }),
    maxAttempts: integer('max_attempts').notNull(),
    /** JSON: what the devices were chosen by. */
    filter: text('filter').notNull(),
    /** Devices in one second; null for as many as the broker takes. */
    ratePerS: real('rate_per_s'),
    /** Devices that have their turn before the others. */
    canaries: integer('canaries').notNull().default(0),
    canaryWaitS: integer('canary_wait_s'),
    /** Time at which the others have their turn in any case; null while canaries are released, and without such a time. */
    canaryUntil: integer('canary_until'),
    /** Failures among the results that end it, 0–1; null for none. */
    failedShare: real('failed_share'),
    minResults: integer('min_results').notNull(),
    status: text('status', { enum: fleetCommandStates }).notNull(),
    reason: text('reason'),
    targets: integer('targets').notNull().default(0),
    /** Targets that had their turn: those up to this position. */
    released: integer('released').notNull().default(0),
    /** Time up to which the rate is used. */
    paidUntil: integer('paid_until').notNull(),
    issuedAt: integer('issued_at').notNull(),
    expiresAt: integer('expires_at').notNull(),
    /** When it was closed: nothing of it changes any more. */
    finishedAt: integer('finished_at'),
    /** JSON: targets by state, of one that is closed. */
    progress: text('progress'),
  },
  (t) => [
    index('fleet_commands_open').on(t.id).where(sql`${t.finishedAt} is null`),
    index('fleet_commands_closed').on(t.finishedAt).where(sql`${t.finishedAt} is not null`),
  ],
)

/** The devices of fleet commands that are not closed, in the order of their turns. */
export const fleetTargets = sqliteTable(
  'fleet_targets',
  {
    fleetId: integer('fleet_id')
      .notNull()
      .references(() => fleetCommands.id, { onDelete: 'cascade' }),
    /** From 1. */
    position: integer('position').notNull(),
    deviceId: integer('device_id').notNull(),
  },
  (t) => [primaryKey({ columns: [t.fleetId, t.position] })],
)

/** Which commands a connected client has subscribed to, from events of AWS IoT Core, which does not tell it when asked. */
export const commandSubscriptions = sqliteTable(
  'command_subscriptions',
  {
    deviceId: integer('device_id')
      .notNull()
      .references(() => devices.id, { onDelete: 'cascade' }),
    clientId: text('client_id').notNull(),
    /** As in `commands`; empty for `…/commands` itself. */
    channel: text('channel').notNull(),
    sessionId: text('session_id').notNull(),
    since: integer('since').notNull(),
  },
  (t) => [primaryKey({ columns: [t.deviceId, t.clientId, t.channel] })],
)

/** Work that one process at a time does, and the process that holds it. */
export const leases = sqliteTable('leases', {
  name: text('name').primaryKey(),
  holder: text('holder').notNull(),
  expiresAt: integer('expires_at').notNull(),
})
