/** Every topic that documents, examples and clients use, with the rules of iot-rules/ that see its messages. */

/** Below `<root>/devices/7/`: the names of the rules. */
export const rulesOfDeviceTopics: Readonly<Record<string, readonly string[]>> = {
  telemetry: ['telemetry_ingest_parent'],
  'telemetry/': ['telemetry_ingest'],
  'telemetry/sensors': ['telemetry_ingest'],
  'telemetry/metrics': ['telemetry_ingest'],
  'telemetry/events': ['telemetry_ingest'],
  'telemetry/STATE': ['telemetry_ingest'],
  'telemetry/a/b': ['telemetry_ingest'],
  status: ['presence_status_parent'],
  'status/online': ['presence_status'],
  'status/offline': ['presence_status'],
  'status/heartbeat': ['presence_status'],
  'commands/response': ['commands_response'],
  'commands/c1/response': ['commands_response_by_id'],
  'config/reported': ['configuration_reported'],
  // Only the server publishes these.
  commands: [],
  'commands/control': [],
  'commands/config': [],
  'commands/firmware': [],
  'commands/POWER': [],
  config: [],
  // No device may publish these.
  'telemetry-x': [],
  'status/online/x': [],
  'commands/a/b/response': [],
  'commands/response/x': [],
  'config/reported/x': [],
}

/** Whole topics that do not belong to one device: the names of the rules. */
export const rulesOfOtherTopics: Readonly<Record<string, readonly string[]>> = {
  'iotflow/fleet/notices': [],
  'iotflow/fleet/notices/maintenance': [],
  '$aws/events/presence/connected/7': ['presence_lifecycle'],
  '$aws/events/presence/disconnected/7': ['presence_lifecycle'],
  '$aws/events/subscriptions/subscribed/7': ['commands_subscribed'],
  '$aws/events/subscriptions/unsubscribed/7': ['commands_subscribed'],
  '$aws/events/presence/connected': [],
  'something/else': [],
}
