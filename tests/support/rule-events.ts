/** Messages of devices as the rules in `iot-rules/` hand them to a function. */

let messages = 0

export interface RuleEvent {
  readonly payload: string
  readonly topic: string
  readonly client_id: string
  readonly received_at: number
  readonly message_id: string
}

/**
 * @param topic what follows `iotflow/devices/{id}/`: `telemetry/lab`, `status/online`.
 * @param payload a string or bytes are sent unchanged, anything else as JSON.
 * @param receivedAt milliseconds since the epoch.
 */
export function ruleEvent(
  deviceId: number,
  topic: string,
  payload: unknown,
  receivedAt = Date.now(),
): RuleEvent {
  messages += 1
  const bytes =
    payload instanceof Uint8Array || typeof payload === 'string'
      ? Buffer.from(payload)
      : Buffer.from(JSON.stringify(payload))
  return {
    payload: bytes.toString('base64'),
    topic: `iotflow/devices/${deviceId}/${topic}`,
    client_id: String(deviceId),
    received_at: receivedAt,
    message_id: `message-${messages}`,
  }
}
