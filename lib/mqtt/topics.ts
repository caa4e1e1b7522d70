/** The topic tree: which topics a device has, how a topic is read, and MQTT's rules for names and filters. */

export interface DeviceTopics {
  /** `…/telemetry`; subtopics below it are allowed. */
  readonly telemetryPublish: string
  /** `…/status`: publish to one of its three subtopics, which follow. */
  readonly statusPublish: string
  readonly statusOnline: string
  readonly statusOffline: string
  readonly statusHeartbeat: string
  readonly commandsSubscribe: string
  readonly commandsResponsePublish: string
  readonly configSubscribe: string
  readonly configReportedPublish: string
  /** A filter, the same for every device. */
  readonly fleetNoticesSubscribe: string
}

/** What a device may publish; `subtopic` is what follows `telemetry/` or `status/`. */
export interface DeviceTopic {
  deviceId: number
  kind: 'telemetry' | 'status' | 'commands/response' | 'config/reported'
  subtopic?: string
}

const root = 'iotflow/devices/'
const deviceTopic = /^iotflow\/devices\/([1-9]\d{0,14})\/(.+)$/s
const statuses: ReadonlySet<string> = new Set(['online', 'offline', 'heartbeat'])

/** @param id a device's id, 1–999999999999999. */
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

/** Undefined for every topic that is none a device may publish to. An empty subtopic counts as none. */
export function parseDeviceTopic(topic: string): DeviceTopic | undefined {
  const match = deviceTopic.exec(topic)
  if (match === null) return undefined
  const deviceId = Number(match[1])
  const rest = match[2] ?? ''
  if (rest === 'commands/response' || rest === 'config/reported') return { deviceId, kind: rest }
  const slash = rest.indexOf('/')
  const kind = slash < 0 ? rest : rest.slice(0, slash)
  const subtopic = slash < 0 ? '' : rest.slice(slash + 1)
  if (kind === 'telemetry') return subtopic === '' ? { deviceId, kind } : { deviceId, kind, subtopic }
  if (kind === 'status' && statuses.has(subtopic)) return { deviceId, kind, subtopic }
  return undefined
}

/**
 * MQTT strings are 1–65535 bytes of UTF-8 here; a UTF-16 unit makes at most three of them. Bytes that are no UTF-8
 * arrive as U+FFFD, and nobody means that character (MQTT-1.5.3-1).
 */
const isMqttString = (text: string): boolean =>
  text.length > 0 &&
  (text.length <= 21_845 || (text.length <= 65_535 && Buffer.byteLength(text) <= 65_535)) &&
  !text.includes('\0') &&
  !text.includes('\uFFFD')

/** A topic one can publish to: no wildcards, no NUL, 1–65535 bytes. */
export function isTopicName(topic: string): boolean {
  return isMqttString(topic) && !topic.includes('+') && !topic.includes('#')
}

/** A topic filter: `+` and `#` only as whole levels, `#` only as the last. */
export function isTopicFilter(filter: string): boolean {
  if (!isMqttString(filter)) return false
  const levels = filter.split('/')
  return levels.every((level, index) => {
    if (level === '+') return true
    if (level === '#') return index === levels.length - 1
    return !level.includes('+') && !level.includes('#')
  })
}

/** A matcher of one filter, for callers that test many topics. */
export function topicMatcher(filter: string): (topic: string) => boolean {
  const wanted = filter.split('/')
  const wildFirst = wanted[0] === '+' || wanted[0] === '#'
  const open = wanted.at(-1) === '#'
  if (open) wanted.pop()
  return (topic) => {
    if (wildFirst && topic.startsWith('$')) return false
    const levels = topic.split('/')
    if (open ? levels.length < wanted.length : levels.length !== wanted.length) return false
    for (let index = 0; index < wanted.length; index++) {
      if (wanted[index] !== '+' && wanted[index] !== levels[index]) return false
    }
    return true
  }
}

/** MQTT 3.1.1 §4.7: `a/#` matches `a` too, and a leading wildcard matches no topic that starts with `$`. */
export function topicMatches(filter: string, topic: string): boolean {
  return topicMatcher(filter)(topic)
}

/**
 * The client ids a device may use, with `*` for any ending: its id, `iotflow-device-{id}` and `device_{id}`, each
 * alone or followed by `-…` or `_…`.
 */
export function clientIdPatterns(id: number): string[] {
  return [`${id}`, `iotflow-device-${id}`, `device_${id}`].flatMap((name) => [name, `${name}-*`, `${name}_*`])
}
