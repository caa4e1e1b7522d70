/** The custom authorizer of MQTT: AWS IoT Core and the embedded broker ask it whether a client may connect, and what it may do. */

import type { Count } from '../../lib/counts.ts'
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { AppError } from '../../lib/errors.ts'
import type { EventContext } from '../../lib/lambda/handler.ts'
import type { Log } from '../../lib/log.ts'
import type { AuthorizerEvent, AuthorizerResult } from '../../lib/mqtt/authorizer.ts'
import { type ClientIds, maxClientIdLength } from '../../lib/mqtt/client-ids.ts'
import { devicePolicies, refusedClientPolicies } from '../../lib/mqtt/policy.ts'
import type { TopicTree } from '../../lib/mqtt/topics.ts'
import * as runtime from '../../lib/runtime.ts'
import { serveEvents } from '../../lib/serve.ts'
import type { Tally } from '../../lib/tally.ts'

interface Deps {
  log: Log
  devices: Pick<Devices, 'authenticate' | 'noteRepeated'>
  /** Counts clients that were refused. */
  refusals: Pick<Tally<string>, 'add'> | undefined
  topics: TopicTree
  clientIds: ClientIds
  /** Counts logins for CloudWatch. */
  count?: Count | undefined
}

/** AWS refreshes a policy at the earliest after 300 s and ends a connection at the latest after 24 h. */
const refreshAfterInSeconds = 300
const disconnectAfterInSeconds = 86_400

/** The id of a device; on AWS a client may add the name of the authorizer. */
const userName = /^([1-9]\d{0,14})(?:\?x-amz-customauthorizer-[!-~]*)?$/

interface Identity {
  readonly device: Device
  readonly expiresAt: number | null
}

const denied: AuthorizerResult = {
  isAuthenticated: false,
  principalId: 'nobody',
  disconnectAfterInSeconds: 300,
  refreshAfterInSeconds,
  policyDocuments: [],
}

/** The ARN prefix of the broker in the account and region of this function; undefined outside of AWS. */
const brokerArn = (context: EventContext | undefined): string | undefined => {
  const match = /^arn:(aws[\w-]*):lambda:([\w-]+):(\d{12}):/.exec(context?.invokedFunctionArn ?? '')
  return match ? `arn:${match[1]}:iot:${match[2]}:${match[3]}:` : undefined
}

const hourMs = 3_600_000
/** Characters of a user name in the log when it is no device id: some devices send their key there. */
const shownCharacters = 6

const shownName = (username: string): string =>
  userName.test(username) ? username : `${username.slice(0, shownCharacters)}…`

type Refusal = 'no credentials' | 'wrong key' | "another device's key" | 'inactive' | 'client id'

/** @returns a refusal, not an error, when the client has no right to connect. */
export const authorizeMqtt = ({ log, devices, refusals, topics, clientIds, count }: Deps) => {
  /** Logs a failed login, and makes it an event of the device that the user name names. */
  const noteFailure = ({ protocolData, connectionMetadata }: AuthorizerEvent, reason: Refusal) => {
    const { username = '', clientId } = protocolData?.mqtt ?? {}
    const { address } = connectionMetadata ?? {}
    const client_id = reason === 'client id' ? clientId?.slice(0, maxClientIdLength) : undefined
    refusals?.add(reason.replaceAll(' ', '_').replace("'", ''))
    count?.('MqttLoginsRefused')
    log.warn('mqtt login failed', { username: shownName(username), address, reason, client_id })
    const id = Number(userName.exec(username)?.[1])
    if (Number.isNaN(id)) return
    const hour = new Date(Math.floor(Date.now() / hourMs) * hourMs).toISOString()
    const detail = {
      reason,
      ...(address === undefined ? {} : { address }),
      ...(client_id === undefined ? {} : { client_id }),
    }
    devices.noteRepeated({ deviceId: id, kind: 'login_failed', key: hour, detail })
  }

  const identify = async (password: string): Promise<Identity | Refusal> => {
    try {
      return await devices.authenticate(Buffer.from(password, 'base64').toString('utf8'))
    } catch (error) {
      if (error instanceof AppError && error.code === 'UNAUTHORIZED') return 'wrong key'
      if (error instanceof AppError && error.code === 'FORBIDDEN') return 'inactive'
      throw error
    }
  }

  return async (event: AuthorizerEvent, context?: EventContext): Promise<AuthorizerResult> => {
    const { username, password, clientId = '' } = event.protocolData?.mqtt ?? {}
    const [, id] = userName.exec(username ?? '') ?? []
    const refuse = (reason: Refusal): AuthorizerResult => {
      noteFailure(event, reason)
      return denied
    }
    if (id === undefined || password === undefined) return refuse('no credentials')
    const identity = await identify(password)
    if (typeof identity === 'string') return refuse(identity)
    const { device, expiresAt } = identity
    if (String(device.id) !== id) return refuse("another device's key")
    const isOwnClientId = clientIds.deviceOf(clientId) === device.id
    if (isOwnClientId) count?.('MqttLogins')
    else noteFailure(event, 'client id')
    const keyEndsInSeconds =
      expiresAt === null ? disconnectAfterInSeconds : Math.ceil((expiresAt - Date.now()) / 1000)
    return {
      isAuthenticated: true,
      principalId: id,
      // A connection ends when its key expires; AWS accepts no time shorter than the refresh time.
      disconnectAfterInSeconds: Math.max(
        brokerArn(context) === undefined ? 1 : refreshAfterInSeconds,
        Math.min(disconnectAfterInSeconds, keyEndsInSeconds),
      ),
      refreshAfterInSeconds,
      policyDocuments: isOwnClientId
        ? devicePolicies(topics.of(device.id), clientId, brokerArn(context))
        : refusedClientPolicies,
    }
  }
}

export const handler = serveEvents(authorizeMqtt, {
  devices: runtime.devices,
  refusals: runtime.mqttRefusals,
  topics: runtime.topics,
  clientIds: runtime.clientIds,
  count: runtime.count,
})
