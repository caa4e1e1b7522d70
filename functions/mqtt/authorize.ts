/** The custom authorizer of MQTT: may this client connect, and what may it do? Asked by AWS IoT Core and by the local broker. */
import { type EventContext, onEvent } from '../../lib/built.ts'
import type { Device } from '../../lib/devices/device.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { AppError } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import type { AuthorizerEvent, AuthorizerResult } from '../../lib/mqtt/authorizer.ts'
import { devicePolicies } from '../../lib/mqtt/policy.ts'
import * as runtime from '../../lib/runtime.ts'

interface Deps {
  log: Log
  devices: Pick<Devices, 'authenticate'>
}

/** AWS refreshes a policy at the earliest after 300 s and ends a connection at the latest after 24 h. */
const refreshAfterInSeconds = 300
const disconnectAfterInSeconds = 86_400

/** A device's id; on AWS a client may name the authorizer behind it. */
const userName = /^([1-9]\d{0,14})(?:\?x-amz-customauthorizer-[!-~]*)?$/

const denied: AuthorizerResult = {
  isAuthenticated: false,
  principalId: 'nobody',
  disconnectAfterInSeconds: 300,
  refreshAfterInSeconds,
  policyDocuments: [],
}

/** The broker of the account and region that this function runs in; undefined for the one of a machine. */
const brokerArn = (context: EventContext | undefined): string | undefined => {
  const match = /^arn:(aws[\w-]*):lambda:([\w-]+):(\d{12}):/.exec(context?.invokedFunctionArn ?? '')
  return match ? `arn:${match[1]}:iot:${match[2]}:${match[3]}:` : undefined
}

/** Never throws for a client's fault: a refusal is an answer. */
export const authorizeMqtt =
  ({ log, devices }: Deps) =>
  async (event: AuthorizerEvent, context?: EventContext): Promise<AuthorizerResult> => {
    const { username, password } = event.protocolData?.mqtt ?? {}
    const [, id] = userName.exec(username ?? '') ?? []
    if (id === undefined || password === undefined) return denied
    let identified: { device: Device; expiresAt: number | null }
    try {
      identified = await devices.authenticate(Buffer.from(password, 'base64').toString('utf8'))
    } catch (error) {
      if (error instanceof AppError && (error.code === 'UNAUTHORIZED' || error.code === 'FORBIDDEN')) {
        log.info('mqtt connection refused', { reason: error.code })
        return denied
      }
      throw error
    }
    const { device, expiresAt } = identified
    if (String(device.id) !== id) return denied
    const keyEndsInSeconds =
      expiresAt === null ? disconnectAfterInSeconds : Math.ceil((expiresAt - Date.now()) / 1000)
    return {
      isAuthenticated: true,
      principalId: String(device.id),
      // A connection ends with the key that opened it; AWS takes nothing shorter than it refreshes.
      disconnectAfterInSeconds: Math.max(
        refreshAfterInSeconds,
        Math.min(disconnectAfterInSeconds, keyEndsInSeconds),
      ),
      refreshAfterInSeconds,
      policyDocuments: devicePolicies(device.id, brokerArn(context)),
    }
  }

export const handler = onEvent(async () =>
  authorizeMqtt({ log: runtime.log(), devices: await runtime.devices() }),
)
