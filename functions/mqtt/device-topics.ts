/**
 * GET /api/v1/mqtt/topics/device/{id}: the topics of one device with their meaning, in the form of the predecessor, and what it
 * connects with. An operator who asks for it does not use the key of the device.
 */
import * as z from 'zod'
import { type CredentialsDeps, mqttCredentials } from '../../lib/broker/credentials.ts'
import * as brokerResponses from '../../lib/broker/responses.ts'
import type { Devices } from '../../lib/devices/devices.ts'
import { existingDevice } from '../../lib/devices/reader.ts'
import { endpoint } from '../../lib/http/endpoint.ts'
import { hostnameOf } from '../../lib/http/host.ts'
import { defineRoute, describeRoute, json, typedBy } from '../../lib/http/route.ts'
import { idOf } from '../../lib/http/validate.ts'
import type { DeviceTopics } from '../../lib/mqtt/topics.ts'
import * as fields from '../../lib/response-fields.ts'
import * as runtime from '../../lib/runtime.ts'
import { type EndpointDeps, serve } from '../../lib/serve.ts'

export const documentation = () => {
  const topic = z
    .strictObject({
      name: z.string(),
      path: z.string(),
      qos: z.literal(1).describe('What the server publishes with, and what a device should use.'),
      retain: z.boolean().describe('Whether the broker keeps the last message.'),
      description: z.string(),
    })
    .meta({ id: 'MqttTopic' })
  const topics = z
    .strictObject({
      telemetry: z.array(topic),
      commands: z.array(topic),
      status: z.array(topic),
      config: z.array(topic),
    })
    .describe('By their kind.')
  return describeRoute({
    summary: 'Lists the MQTT topics of a device',
    description: '`credentials` is what `GET /api/v1/devices/mqtt-credentials` tells the device itself.',
    responses: {
      200: json(
        'Its topics.',
        z.strictObject({
          status: fields.success,
          device_id: fields.deviceId,
          topics,
          total_topics: fields.count,
          credentials: brokerResponses.mqttCredentials,
        }),
      ),
    },
  })
}

export const route = defineRoute({
  addresses: ['GET /api/v1/mqtt/topics/device/:id'],
  access: 'read',
  documentation: typedBy<typeof documentation>(),
})

interface Deps extends EndpointDeps, CredentialsDeps {
  devices: Pick<Devices, 'find'>
}

const describeTopic = (name: string, path: string, description: string, retain = false) => ({
  name,
  path,
  qos: 1 as const,
  retain,
  description,
})

const topicsOf = (topics: DeviceTopics) => {
  const { telemetryPublish, statusPublish, commandsSubscribe } = topics
  const part = (of: string, name: string) => `${of}/${name}`
  return {
    telemetry: [
      describeTopic('device_telemetry', telemetryPublish, 'Readings that the device sends'),
      ...(['sensors', 'metrics', 'events'] as const).map((name) =>
        describeTopic(
          `device_telemetry_${name}`,
          part(telemetryPublish, name),
          'Readings, stored with this name',
        ),
      ),
    ],
    commands: [
      describeTopic('device_commands', commandsSubscribe, 'Commands for the device'),
      ...(['config', 'control', 'firmware'] as const).map((name) =>
        describeTopic(
          `device_commands_${name}`,
          part(commandsSubscribe, name),
          'Commands of this kind for the device',
        ),
      ),
      describeTopic(
        'device_commands_response',
        topics.commandsResponsePublish,
        'Answers of the device to its commands',
      ),
    ],
    status: [
      describeTopic('device_status', statusPublish, 'State of the device, which the payload says', true),
      describeTopic('device_status_online', topics.statusOnline, 'The device is online', true),
      describeTopic('device_status_offline', topics.statusOffline, 'The device is offline; its will', true),
      describeTopic('device_status_heartbeat', topics.statusHeartbeat, 'The device is still online', true),
    ],
    config: [
      describeTopic('device_config', topics.configSubscribe, 'Configuration of the device', true),
      describeTopic(
        'device_config_reported',
        topics.configReportedPublish,
        'Version of the configuration that the device runs',
      ),
    ],
  }
}

export const listDeviceTopics = (deps: Deps) =>
  endpoint(route, deps, async (c, reply, reader) => {
    const { id } = await existingDevice(deps.devices, reader, idOf(c))
    const topics = topicsOf(deps.topics.of(id))
    return reply(c, 200, {
      status: 'success',
      device_id: id,
      topics,
      total_topics: Object.values(topics).flat().length,
      credentials: await mqttCredentials(deps, id, hostnameOf(c)),
    })
  })

export const handler = serve(listDeviceTopics, {
  brokerAddress: () => runtime.brokerAddress,
  devices: runtime.devices,
  topics: runtime.topics,
  clientIds: runtime.clientIds,
})
