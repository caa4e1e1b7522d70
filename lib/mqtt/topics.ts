/** The topic tree of devices, the parser of its topics, and MQTT's rules for topic names and filters. */
import { defaultTopicRoot } from '../stages.ts'

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

const commandResponse = /^commands\/([^/]+)\/response$/
const statuses: ReadonlySet<string> = new Set(['online', 'offline', 'heartbeat'])

/** The topics below one first level: stages of one AWS account have different ones, so that they do not hear each other. */
export class TopicTree {
  /** The first level of every topic. */
  readonly root: string
  readonly #devices: string

  /** @param root TOPIC_ROOT, in the form that the settings check. */
  constructor(root: string) {
    this.root = root
    this.#devices = `${root}/devices/`
  }

  /** @param id id of a device, 1–999999999999999. */
  of(id: number): DeviceTopics {
    const base = `${this.#devices}${id}`
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
      fleetNoticesSubscribe: `${this.root}/fleet/notices/#`,
    }
  }

  /** Undefined for a topic that no device may publish to. An empty subtopic counts as no subtopic. */
  parse(topic: string): DeviceTopic | undefined {
    if (!topic.startsWith(this.#devices)) return undefined
    const afterId = topic.indexOf('/', this.#devices.length)
    const id = topic.slice(this.#devices.length, afterId)
    if (afterId < 0 || !/^[1-9]\d{0,14}$/.test(id)) return undefined
    return topicOf(Number(id), topic.slice(afterId + 1))
  }
}

/** The topics of a server whose settings name no other root. */
export const defaultTopics = new TopicTree(defaultTopicRoot)

/** @param rest the topic after the device's id. */
const topicOf = (deviceId: number, rest: string): DeviceTopic | undefined => {
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

/** A matcher for one filter, as AWS IoT Core matches in rules and subscriptions: unlike in MQTT, `a/#` does not match `a`. */
export function awsTopicMatcher(filter: string): (topic: string) => boolean {
  const matches = topicMatcher(filter)
  if (!filter.endsWith('/#')) return matches
  const parentLevels = filter.split('/').length - 1
  return (topic) => matches(topic) && topic.split('/').length > parentLevels
}
