/** What a device may do at a Mosquitto, as commands of its dynamic-security plugin. */
import { deviceTopics } from './topics.ts'

/** Commands are published here; answers come on `…/response`. */
export const controlTopic = '$CONTROL/dynamic-security/v1'

type Command = Readonly<Record<string, unknown>> & { readonly command: string }

const roleOf = (deviceId: number) => `iotflow-device-${deviceId}`

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
  ]
}

/** The account of a device, with this key as its password and none before it; a connection with another one ends. */
export function accountCommands(deviceId: number, key: string): Command[] {
  const [username, rolename, acls] = [String(deviceId), roleOf(deviceId), rightsOf(deviceId)]
  return [
    { command: 'createRole', rolename, acls },
    { command: 'modifyRole', rolename, acls },
    { command: 'createClient', username, password: key, roles: [{ rolename }] },
    { command: 'modifyClient', username, password: key, roles: [{ rolename }] },
    { command: 'enableClient', username },
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
