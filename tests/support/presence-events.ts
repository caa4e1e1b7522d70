/** Lifecycle events as the rule of AWS IoT Core hands them to `mqtt-presence`. */

let version = 0

const lifecycle = (
  eventType: 'connected' | 'disconnected',
  deviceId: number,
  clientId: string,
  at: number,
) => {
  version += 1
  const event = {
    clientId,
    timestamp: at,
    eventType,
    sessionIdentifier: `session-${clientId}`,
    principalIdentifier: String(deviceId),
    versionNumber: version,
  }
  return {
    payload: Buffer.from(JSON.stringify(event)).toString('base64'),
    topic: `$aws/events/presence/${eventType}/${clientId}`,
    client_id: clientId,
    received_at: at,
  }
}

/** @param at milliseconds since the epoch. */
export const connect = (deviceId: number, clientId: string, at = Date.now()) =>
  lifecycle('connected', deviceId, clientId, at)
