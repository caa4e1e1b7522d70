/** What deployed functions count. Each name is a metric of CloudWatch, in the namespace IoTFlow. */

export const countNames = [
  /** Messages with telemetry that were handed to the pipeline, of every door; a message that comes again counts again. */
  'MessagesReceived',
  /** Messages of which nothing was kept, because neither store nor spool took it: they come again. */
  'MessagesFailed',
  'ReadingsStored',
  /** Readings that were put into the queue, because the store was unavailable. They are stored later. */
  'ReadingsSpooled',
  'ReadingsRejected',
  'ReadingsDuplicate',
  /** Warnings about readings, of every kind. */
  'ReadingWarnings',
  'DeadLetters',
  'CommandsCreated',
  'CommandsSucceeded',
  'CommandsFailed',
  /** Alerts that are open, at the look of each minute. */
  'AlertsOpen',
  /** Connections that the authorizer of MQTT allowed, and those that it refused. */
  'MqttLogins',
  'MqttLoginsRefused',
  /** Deliveries that a receiver took, attempts that failed, and deliveries that were given up. */
  'WebhooksDelivered',
  'WebhookAttemptsFailed',
  'WebhooksFailed',
] as const

export type CountName = (typeof countNames)[number]

/** Counts something. @param by 1 by default. It must not throw. */
export type Count = (name: CountName, by?: number) => void
