/**
 * Commands on their way to devices. The registry keeps those that wait, because there they can expire, be cancelled and keep
 * their order: the broker gives them to connected clients only, and keeps none of them for a session.
 */
import type { AedesPublishPacket } from 'aedes'

const commandTopic = /^iotflow\/devices\/([1-9]\d{0,14})\/commands(?:\/[^/]+)?$/

/** The command in a message; undefined for any other message. The functions publish each with its id as correlation data. */
export const commandOf = (
  packet: Partial<Pick<AedesPublishPacket, 'topic' | 'properties'>> | undefined,
): { deviceId: number; commandId: string } | undefined => {
  const { correlationData } = packet?.properties ?? {}
  if (correlationData === undefined) return undefined
  const deviceId = commandTopic.exec(packet?.topic ?? '')?.[1]
  return deviceId === undefined
    ? undefined
    : { deviceId: Number(deviceId), commandId: correlationData.toString() }
}
