/** Commands of Mosquitto's dynamic-security plugin that give devices their accounts and rights. */
import { createHash } from 'node:crypto'
import type { TopicTree } from '../mqtt/topics.ts'

/** Commands are published to this topic; the answers come on `…/response`. */
export const controlTopic = '$CONTROL/dynamic-security/v1'

type Command = Readonly<Record<string, unknown>> & { readonly command: string }

/** Name of the role that holds a device's rights. */
export const roleOf = (deviceId: number): string => `iotflow-device-${deviceId}`

const rightsOf = (tree: TopicTree, deviceId: number) => {
  const topics = tree.of(deviceId)
  const answers = [topics.commandsResponsePublish, `${topics.commandsSubscribe}/+/response`]
  const send = [
    topics.telemetryPublish,
    `${topics.telemetryPublish}/#`,
    topics.statusPublish,
    topics.statusOnline,
    topics.statusOffline,
    topics.statusHeartbeat,
    ...answers,
    topics.configReportedPublish,
  ]
  const read = [
    topics.commandsSubscribe,
    `${topics.commandsSubscribe}/#`,
    topics.configSubscribe,
    topics.fleetNoticesSubscribe,
  ]
  const right = (acltype: string) => (topic: string) => ({ acltype, topic, priority: 0, allow: true })
  // `subscribePattern` allows the filters that lie within this one.
  return [
    ...send.map(right('publishClientSend')),
    ...read.map(right('publishClientReceive')),
    ...read.map(right('subscribePattern')),
    // `commands/#` contains the device's own answers: they would come back, and fill the queue of a device that is offline.
    ...answers.map((topic) => ({ ...right('publishClientReceive')(topic), priority: 1, allow: false })),
  ]
}

/**
 * User name and client id of a device. The account is bound to the client id, because some listeners accept the id that the
 * client chooses: with another id the device could take over a session, even the server's.
 */
const nameOf = (deviceId: number) => ({ username: String(deviceId), clientid: String(deviceId) })

/** Replaces the rights of a device. Its connection stays open. */
export const rightsCommands = (topics: TopicTree, deviceId: number): Command[] => {
  const role = { rolename: roleOf(deviceId), acls: rightsOf(topics, deviceId) }
  return [
    { command: 'createRole', ...role },
    { command: 'modifyRole', ...role },
  ]
}

/** Binds an account to its client id and its role. Its connection ends, as with every change of an account. */
export const bindCommands = (deviceId: number): Command[] => [
  { command: 'modifyClient', ...nameOf(deviceId), roles: [{ rolename: roleOf(deviceId) }] },
]

/** Identifies the key of an account at the broker. It is made from the key's hash, and neither can be found from it. */
export const markOf = (keyHash: string): string =>
  createHash('sha256').update(`iotflow account\0${keyHash}`).digest('hex').slice(0, 16)

/**
 * Creates or replaces the account of a device, with this key as its only password. A connection with another key ends.
 * @param mark `markOf` the key's hash.
 */
export function accountCommands(topics: TopicTree, deviceId: number, key: string, mark = ''): Command[] {
  const client = {
    ...nameOf(deviceId),
    password: key,
    textdescription: mark,
    roles: [{ rolename: roleOf(deviceId) }],
  }
  return [
    ...rightsCommands(topics, deviceId),
    { command: 'createClient', ...client },
    { command: 'modifyClient', ...client },
    ...enableCommands(deviceId),
  ]
}

/** Ends the device's connection and refuses new ones. */
export const disableCommands = (deviceId: number): Command[] => [
  { command: 'disableClient', username: String(deviceId) },
]

export const enableCommands = (deviceId: number): Command[] => [
  { command: 'enableClient', username: String(deviceId) },
]

export const removeCommands = (deviceId: number): Command[] => [
  { command: 'deleteClient', username: String(deviceId) },
  { command: 'deleteRole', rolename: roleOf(deviceId) },
]
