/** What a device may do at a Mosquitto, as commands of its dynamic-security plugin. */
import { createHash } from 'node:crypto'
import { deviceTopics } from './topics.ts'

/** Commands are published here; answers come on `…/response`. */
export const controlTopic = '$CONTROL/dynamic-security/v1'

type Command = Readonly<Record<string, unknown>> & { readonly command: string }

/** The role that holds a device's rights. */
export const roleOf = (deviceId: number): string => `iotflow-device-${deviceId}`

const rightsOf = (deviceId: number) => {
  const topics = deviceTopics(deviceId)
  const send = [
    topics.telemetryPublish,
    `${topics.telemetryPublish}/#`,
    topics.statusOnline,
    topics.statusOffline,
    topics.statusHeartbeat,
    topics.commandsResponsePublish,
    topics.configReportedPublish,
  ]
  const read = [
    topics.commandsSubscribe,
    `${topics.commandsSubscribe}/#`,
    topics.configSubscribe,
    topics.fleetNoticesSubscribe,
  ]
  const right = (acltype: string) => (topic: string) => ({ acltype, topic, priority: 0, allow: true })
  // A filter is allowed as it is written: a wider one of other letters is not.
  return [
    ...send.map(right('publishClientSend')),
    ...read.map(right('publishClientReceive')),
    ...read.map(right('subscribeLiteral')),
    // Below `commands/#` its own answers would come back, and queue up without bound where it does not read them.
    { ...right('publishClientReceive')(topics.commandsResponsePublish), priority: 1, allow: false },
  ]
}

/**
 * Name and client id of a device. With another id it could take over a session, also that of the layer, where a listener
 * does not give out ids itself.
 */
const nameOf = (deviceId: number) => ({ username: String(deviceId), clientid: String(deviceId) })

/** Gives a device its rights, whatever it had; its connection goes on. */
export const rightsCommands = (deviceId: number): Command[] => {
  const role = { rolename: roleOf(deviceId), acls: rightsOf(deviceId) }
  return [
    { command: 'createRole', ...role },
    { command: 'modifyRole', ...role },
  ]
}

/** Binds an account to its client id and its role; a connection ends, as with every change of an account. */
export const bindCommands = (deviceId: number): Command[] => [
  { command: 'modifyClient', ...nameOf(deviceId), roles: [{ rolename: roleOf(deviceId) }] },
]

/** Tells at the broker which key an account has, by the key's hash: neither can be found from it. */
export const markOf = (keyHash: string): string =>
  createHash('sha256').update(`iotflow account\0${keyHash}`).digest('hex').slice(0, 16)

/**
 * The account of a device, with this key as its password and none before it; a connection with another one ends.
 * @param mark `markOf` the key's hash.
 */
export function accountCommands(deviceId: number, key: string, mark = ''): Command[] {
  const client = {
    ...nameOf(deviceId),
    password: key,
    textdescription: mark,
    roles: [{ rolename: roleOf(deviceId) }],
  }
  return [
    ...rightsCommands(deviceId),
    { command: 'createClient', ...client },
    { command: 'modifyClient', ...client },
    ...enableCommands(deviceId),
  ]
}

/** Lets the device in no more; its connection ends. */
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
