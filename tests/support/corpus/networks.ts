/** Messages of networks, gateways and collectors. */
import { type DevicePayload, offsetTime, untimed } from './payload.ts'

const lorawan: readonly DevicePayload[] = [
  {
    name: 'ChirpStack: uplink',
    send: (now) => ({
      deduplicationId: '3ac7e3c4',
      time: offsetTime(now, 0),
      deviceInfo: { deviceName: 'soil-4', devEui: '70b3d57ed0041234', tags: { field: 'west' } },
      fPort: 3,
      fCnt: 1021,
      data: 'AQID',
      object: { temperature: 22.5, moisture: 0.31 },
      rxInfo: [
        { gatewayId: '0016c001f1', rssi: -97, snr: 8.2, location: { latitude: 47.1, longitude: 8.5 } },
      ],
    }),
    stored: (now) => [
      {
        time: now,
        fields: {
          deduplicationId: '3ac7e3c4',
          'deviceInfo.deviceName': 'soil-4',
          'deviceInfo.devEui': '70b3d57ed0041234',
          'deviceInfo.tags.field': 'west',
          fPort: 3,
          fCnt: 1021,
          data: 'AQID',
          'object.temperature': 22.5,
          'object.moisture': 0.31,
          'rxInfo.0.gatewayId': '0016c001f1',
          'rxInfo.0.rssi': -97,
          'rxInfo.0.snr': 8.2,
          'rxInfo.0.location.latitude': 47.1,
          'rxInfo.0.location.longitude': 8.5,
        },
      },
    ],
  },
  untimed(
    'ChirpStack: payload without a codec',
    { data: '000012300007', fPort: 2 },
    { data: '000012300007', fPort: 2 },
  ),
  {
    name: 'The Things Network: uplink',
    send: (now) => ({
      end_device_ids: { device_id: 'weather-2', application_ids: { application_id: 'garden' } },
      received_at: offsetTime(now, 0),
      uplink_message: {
        f_port: 1,
        frm_payload: 'CIEKAQ==',
        decoded_payload: { temperature_1: 17.25, relative_humidity_2: 61.5, battery_v: 3.61 },
        rx_metadata: [{ gateway_ids: { gateway_id: 'roof' }, rssi: -112, snr: -4.5 }],
        settings: { data_rate: { lora: { bandwidth: 125_000, spreading_factor: 9 } } },
      },
    }),
    stored: (now) => [
      {
        fields: {
          'end_device_ids.device_id': 'weather-2',
          'end_device_ids.application_ids.application_id': 'garden',
          'uplink_message.f_port': 1,
          'uplink_message.frm_payload': 'CIEKAQ==',
          'uplink_message.decoded_payload.temperature_1': 17.25,
          'uplink_message.decoded_payload.relative_humidity_2': 61.5,
          'uplink_message.decoded_payload.battery_v': 3.61,
          'uplink_message.rx_metadata.0.gateway_ids.gateway_id': 'roof',
          'uplink_message.rx_metadata.0.rssi': -112,
          'uplink_message.rx_metadata.0.snr': -4.5,
          'uplink_message.settings.data_rate.lora.bandwidth': 125_000,
          'uplink_message.settings.data_rate.lora.spreading_factor': 9,
        },
        metadata: { received_at: offsetTime(now, 0) },
      },
    ],
  },
  untimed(
    'Milesight: decoded values beside a place',
    { battery: 99, location: { latitude: 41.39, longitude: 2.17, motion_status: 'moving' } },
    {
      battery: 99,
      'location.latitude': 41.39,
      'location.longitude': 2.17,
      'location.motion_status': 'moving',
    },
  ),
]

const senml: readonly DevicePayload[] = [
  {
    name: 'SenML: one measurement, now',
    contentType: 'application/senml+json',
    send: () => [{ bn: 'urn:dev:ow:10e2073a0108006', u: 'Cel', v: 23.1 }],
    stored: () => [
      {
        fields: { 'urn:dev:ow:10e2073a0108006': 23.1 },
        metadata: { bn: 'urn:dev:ow:10e2073a0108006', 'unit.urn:dev:ow:10e2073a0108006': 'Cel' },
      },
    ],
  },
  {
    name: 'SenML: base name, base time, units',
    contentType: 'application/senml+json',
    send: (now) => [
      { bn: 'urn:dev:mac:0024befffe804ff1/', bt: now / 1000, n: 'voltage', u: 'V', v: 12.31 },
      { n: 'current', u: 'A', v: 1.2 },
      { n: 'door', vb: true },
      { n: 'state', vs: 'idle' },
    ],
    stored: (now) => [
      {
        time: now,
        fields: { voltage: 12.31, current: 1.2, door: true, state: 'idle' },
        metadata: { bn: 'urn:dev:mac:0024befffe804ff1/', 'unit.voltage': 'V', 'unit.current': 'A' },
      },
    ],
  },
  {
    name: 'SenML: a series',
    send: (now) => [
      { bn: 'dev/', bt: now / 1000, bu: '%RH', n: 'h', t: -2, v: 20 },
      { n: 'h', t: -1, v: 20.3 },
      { n: 'h', v: 20.7 },
    ],
    stored: (now) =>
      [20, 20.3, 20.7].map((h, i) => ({
        time: now - 2000 + i * 1000,
        fields: { h },
        metadata: { bn: 'dev/', 'unit.h': '%RH' },
      })),
  },
  {
    name: 'SenML: two devices behind a gateway',
    send: (now) => [
      { bn: '2001:db8::2/', bt: now / 1000, n: 'temperature', u: 'Cel', v: 25.2 },
      { n: 'humidity', u: '%RH', v: 30 },
      { bn: '2001:db8::1/', n: 'temperature', u: 'Cel', v: 12.3 },
    ],
    stored: (now) => [
      {
        time: now,
        fields: {
          '2001:db8::2/temperature': 25.2,
          '2001:db8::2/humidity': 30,
          '2001:db8::1/temperature': 12.3,
        },
        metadata: {
          'unit.2001:db8::2/temperature': 'Cel',
          'unit.2001:db8::2/humidity': '%RH',
          'unit.2001:db8::1/temperature': 'Cel',
        },
      },
    ],
  },
  untimed(
    'SenML: base value, base sum, sum and bytes',
    [
      { n: 'a', bv: 100, bs: 5, v: 1.5, s: 2 },
      { n: 'frame', vd: 'aGkgCg' },
    ],
    { a: 101.5, 'a.sum': 7, frame: 'aGkgCg', 'frame.sum': 5 },
  ),
]

const sparkplug: readonly DevicePayload[] = [
  {
    name: 'Sparkplug as JSON: metrics',
    send: (now) => ({
      timestamp: now,
      seq: 12,
      metrics: [
        { name: 'Temperature', alias: 1, timestamp: now - 500, dataType: 'Float', value: 71.5 },
        { name: 'Running', alias: 2, dataType: 'Boolean', value: true },
        { name: 'Recipe', dataType: 'String', value: 'B-17' },
      ],
    }),
    stored: (now) => [
      {
        time: now,
        fields: {
          seq: 12,
          'metrics.0.name': 'Temperature',
          'metrics.0.alias': 1,
          'metrics.0.timestamp': now - 500,
          'metrics.0.dataType': 'Float',
          'metrics.0.value': 71.5,
          'metrics.1.name': 'Running',
          'metrics.1.alias': 2,
          'metrics.1.dataType': 'Boolean',
          'metrics.1.value': true,
          'metrics.2.name': 'Recipe',
          'metrics.2.dataType': 'String',
          'metrics.2.value': 'B-17',
        },
      },
    ],
  },
  {
    name: 'Sparkplug as JSON: death certificate',
    send: (now) => ({ timestamp: now, bdSeq: 4, online: false }),
    stored: (now) => [{ time: now, fields: { bdSeq: 4, online: false } }],
  },
]

const telegraf: readonly DevicePayload[] = [
  {
    name: 'Telegraf: JSON of one metric',
    send: (now) => ({
      fields: { usage_idle: 97.4, usage_user: 1.6 },
      name: 'cpu',
      tags: { cpu: 'cpu-total', host: 'edge-3' },
      timestamp: now / 1000,
    }),
    stored: (now) => [
      {
        time: now,
        fields: {
          'fields.usage_idle': 97.4,
          'fields.usage_user': 1.6,
          name: 'cpu',
          'tags.cpu': 'cpu-total',
          'tags.host': 'edge-3',
        },
      },
    ],
  },
  {
    name: 'Telegraf: JSON of a batch of metrics',
    send: (now) => ({
      metrics: [
        { fields: { used_percent: 41.25 }, name: 'mem', tags: { host: 'edge-3' }, timestamp: now / 1000 },
      ],
    }),
    stored: (now) => [
      {
        fields: {
          'metrics.0.fields.used_percent': 41.25,
          'metrics.0.name': 'mem',
          'metrics.0.tags.host': 'edge-3',
          'metrics.0.timestamp': now / 1000,
        },
      },
    ],
  },
]

const nodeRed: readonly DevicePayload[] = [
  untimed(
    'Node-RED: a whole message',
    { _msgid: '5f2a9c', topic: 'plant/1', payload: { level: 0.82, pump: false }, qos: 1, retain: false },
    {
      msgid: '5f2a9c',
      topic: 'plant/1',
      'payload.level': 0.82,
      'payload.pump': false,
      qos: 1,
      retain: false,
    },
    { warnings: ['NAME_CHANGED _msgid'] },
  ),
  {
    name: 'Node-RED: inject with a time in ms',
    send: (now) => ({ payload: 19.75, timestamp: now }),
    stored: (now) => [{ time: now, fields: { payload: 19.75 } }],
  },
  {
    name: 'Node-RED: batch with a name of the gateway',
    send: (now) => ({
      gateway: 'barn',
      batch: [
        { ts: now - 2000, values: { level: 0.5 } },
        { ts: now - 1000, values: { level: 0.55 } },
      ],
    }),
    stored: (now) => [
      { time: now - 2000, fields: { level: 0.5 }, metadata: { gateway: 'barn' } },
      { time: now - 1000, fields: { level: 0.55 }, metadata: { gateway: 'barn' } },
    ],
  },
  {
    name: 'ThingsBoard gateway: ts and values',
    send: (now) => [
      { ts: now - 3000, values: { rpm: 1450, alarm: false } },
      { ts: now - 2000, values: { rpm: 1452 } },
    ],
    stored: (now) => [
      { time: now - 3000, fields: { rpm: 1450, alarm: false } },
      { time: now - 2000, fields: { rpm: 1452 } },
    ],
  },
]

export const networkPayloads: readonly DevicePayload[] = [
  ...lorawan,
  ...senml,
  ...sparkplug,
  ...telegraf,
  ...nodeRed,
]
