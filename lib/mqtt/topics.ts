/** The topic tree of devices, the parser of its topics, and MQTT's rules for topic names and filters. */

export interface DeviceTopics {
  /** `…/telemetry`; a device may also publish to subtopics of it. */
  readonly telemetryPublish: string
  /** `…/status`; the payload says which. Its three subtopics say it by their names. */
  readonly statusPublish: string
  readonly statusOnline: string
  readonly statusOffline: string
  readonly statusHeartbeat: string
  readonly commandsSubscribe: string
  readonly commandsResponsePublish: string
  readonly configSubscribe: string
  readonly configReportedPublish: string
  /** A filter that is the same for every device. */
  readonly fleetNoticesSubscribe: string
}

/** A topic that a device may publish to. */
export interface DeviceTopic {
  deviceId: number
  kind: 'telemetry' | 'status' | 'commands/response' | 'config/reported'
  /** The part after `telemetry/` or `status/`. */
  subtopic?: string
  /** The level between `commands/` and `/response`, where there is one. */
  commandId?: string
}

const root = 'iotflow/devices/'
const deviceTopic = /^iotflow\/devices\/([1-9]\d{0,14})\/(.+)$/s
const commandResponse = /^commands\/([^/]+)\/response$/
const statuses: ReadonlySet<string> = new Set(['online', 'offline', 'heartbeat'])

/** @param id id of a device, 1–999999999999999. */
export function deviceTopics(id: number): DeviceTopics {
  const base = `${root}${id}`
  return {
    telemetryPublish: `${base}/telemetry`,
    statusPublish: `${base}/status`,
    statusOnline: `${base}/status/online`,
    statusOffline: `${base}/status/offline`,
    statusHeartbeat: `${base}/status/heartbeat`,
    commandsSubscribe: `${base}/commands`,
    commandsResponsePublish: `${base}/commands/response`,
    configSubscribe: `${base}/config`,
    configReportedPublish: `${base}/config/reported`,
    fleetNoticesSubscribe: 'iotflow/fleet/notices/#',
  }
}

/** Undefined for a topic that no device may publish to. An empty subtopic counts as no subtopic. */
export function parseDeviceTopic(topic: string): DeviceTopic | undefined {
  const match = deviceTopic.exec(topic)
  if (match === null) return undefined
  const deviceId = Number(match[1])
  const rest = match[2] ?? ''
  if (rest === 'commands/response' || rest === 'config/reported') return { deviceId, kind: rest }
  const commandId = commandResponse.exec(rest)?.[1]
  if (commandId !== undefined) return { deviceId, kind: 'commands/response', commandId }
  const slash = rest.indexOf('/')
  const kind = slash < 0 ? rest : rest.slice(0, slash)
  const subtopic = slash < 0 ? '' : rest.slice(slash + 1)
  if (kind === 'telemetry') return subtopic === '' ? { deviceId, kind } : { deviceId, kind, subtopic }
  if (rest === 'status') return { deviceId, kind: rest }
  if (kind === 'status' && statuses.has(subtopic)) return { deviceId, kind, subtopic }
  return undefined
}

/**
 * MQTT strings have 1–65535 bytes of UTF-8, and one UTF-16 unit makes at most three bytes. Invalid UTF-8 arrives as U+FFFD,
 * so that character is refused (MQTT-1.5.3-1).
 */
const isMqttString = (text: string): boolean =>
  text.length > 0 &&
  (text.length <= 21_845 || (text.length <= 65_535 && Buffer.byteLength(text) <= 65_535)) &&
  !text.includes('\0') &&
  !text.includes('\uFFFD')

/** True for a topic to publish to: no wildcards, no NUL, 1–65535 bytes. */
export function isTopicName(topic: string): boolean {
  return isMqttString(topic) && !topic.includes('+') && !topic.includes('#')
}

/** True for a topic filter: `+` and `#` stand for whole levels only, and `#` for the last ones. */
export function isTopicFilter(filter: string): boolean {
  if (!isMqttString(filter)) return false
  const levels = filter.split('/')
  return levels.every((level, index) => {
    if (level === '+') return true
    if (level === '#') return index === levels.length - 1
    return !level.includes('+') && !level.includes('#')
  })
}

/**
 * A matcher for one filter, for callers that test many topics. MQTT 3.1.1 §4.7: `a/#` matches `a` too, and a leading wildcard
 * matches no topic that starts with `$`.
 */
export function topicMatcher(filter: string): (topic: string) => boolean {
  const wanted = filter.split('/')
  const wildFirst = wanted[0] === '+' || wanted[0] === '#'
  const endsWithHash = wanted.at(-1) === '#'
  if (endsWithHash) wanted.pop()
  return (topic) => {
    if (wildFirst && topic.startsWith('$')) return false
    const levels = topic.split('/')
    if (endsWithHash ? levels.length < wanted.length : levels.length !== wanted.length) return false
    for (let index = 0; index < wanted.length; index++) {
      if (wanted[index] !== '+' && wanted[index] !== levels[index]) return false
    }
    return true
  }
}

/** Characters of a client id, as on AWS IoT Core. */
export const maxClientIdLength = 128
const clientIdCharacters = /^[A-Za-z0-9_.:-]+$/

/**
 * The device that a client id names: its first part of digits only, where `-` and `_` end a part. `7`, `esp32_7` and
 * `iotflow-device-7-boot3` name device 7. Undefined for a client id that no device may use.
 */
export function deviceOfClientId(clientId: string): number | undefined {
  if (clientId.length > maxClientIdLength || !clientIdCharacters.test(clientId)) return undefined
  const digits = clientId.split(/[-_]/).find((part) => /^\d+$/.test(part))
  return digits !== undefined && /^[1-9]\d{0,14}$/.test(digits) ? Number(digits) : undefined
}
