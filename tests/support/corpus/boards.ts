/** Messages of boards with firmware of their own, and of the predecessor's simulators. */
import { type DevicePayload, localTime, offsetTime, untimed } from './payload.ts'

const boards: readonly DevicePayload[] = [
  untimed(
    'ESP32: flat',
    { temperature: 21.5, humidity: 60, ok: true },
    { temperature: 21.5, humidity: 60, ok: true },
  ),
  untimed(
    'ESP32: whole numbers and negative zero',
    { t: 21, z: -0, big: 9_007_199_254_740_991, tiny: 5e-324 },
    {
      t: 21,
      z: 0,
      big: 9_007_199_254_740_991,
      tiny: 5e-324,
    },
  ),
  untimed('ESP32: buffer with one NUL', Buffer.from('{"temperature":21.5}\0'), { temperature: 21.5 }),
  untimed('Arduino: buffer with three NULs and a line end', Buffer.from('{"a0":512,"a1":17}\r\n\0\0\0'), {
    a0: 512,
    a1: 17,
  }),
  untimed('Windows CE panel: byte order mark', Buffer.from('\ufeff{"level":4.2}'), { level: 4.2 }),
  untimed(
    'Arduino: degree sign in Latin-1',
    Buffer.from('{"unit":"\xb0C","t":21}', 'latin1'),
    { unit: '\ufffdC', t: 21 },
    { warnings: ['INVALID_UTF8'] },
  ),
  untimed(
    'ESP32: milliseconds since boot as its time',
    { ts: 36, values: { t: 21.5 } },
    { t: 21.5 },
    { metadata: { device_time: '36' }, warnings: ['CLOCK_WRONG ts'] },
  ),
  untimed(
    'ESP32: seconds since boot as text',
    { ts: '36', t: 21.5 },
    { t: 21.5 },
    { metadata: { device_time: '36' }, warnings: ['CLOCK_WRONG ts'] },
  ),
  {
    name: 'ESP32: epoch as digits in a string',
    send: (now) => ({ t: 19.5, timestamp: String(now / 1000) }),
    stored: (now) => [{ time: now, fields: { t: 19.5 } }],
  },
  {
    name: 'Linux gateway: nanoseconds as a string',
    send: (now) => ({ vibration: 0.0042, ts: `${now}000000` }),
    stored: (now) => [{ time: now, fields: { vibration: 0.0042 } }],
  },
  {
    name: 'ESP8266: clock a day ahead',
    send: (now) => ({ data: { t: 99 }, timestamp: now + 23 * 3_600_000 }),
    stored: (now) => [{ fields: { t: 99 }, metadata: { device_time: String(now + 23 * 3_600_000) } }],
    warnings: ['CLOCK_WRONG timestamp'],
  },
  {
    name: 'Python sensor: time with an offset',
    send: (now) => ({ time: offsetTime(now, 2), soil: [0.31, 0.29] }),
    stored: (now) => [{ time: now, fields: { 'soil.0': 0.31, 'soil.1': 0.29 } }],
  },
  {
    name: 'Data logger: local time in New York',
    timezone: 'America/New_York',
    send: (now) => ({ timestamp: localTime(now, newYorkOffset(now)), wind: 4.4 }),
    stored: (now) => [{ time: now, fields: { wind: 4.4 } }],
  },
  untimed(
    'Weather station: names in Chinese and with a point',
    { 温度: 21.5, 'PM2.5': 8 },
    { 温度: 21.5, 'PM2.5': 8 },
  ),
  untimed(
    'Weather station: names with units',
    { 'Wind [m/s]': 4.1, 'Außentemperatur °C': 7.5, 'Regen "heute"': 0.2 },
    { 'Wind _m/s_': 4.1, 'Außentemperatur °C': 7.5, 'Regen _heute_': 0.2 },
    { warnings: ['NAME_CHANGED Wind [m/s]', 'NAME_CHANGED Regen "heute"'] },
  ),
  untimed(
    'Weather station: letters in their decomposed form',
    { 'Feuchte Ku\u0308che': 48 },
    { 'Feuchte Küche': 48 },
  ),
  untimed(
    'Firmware with a broken string and an endless number',
    Buffer.from('{"t":21,"p":1e999,"note":"\\ud83d"}'),
    { t: 21, note: '\ufffd' },
    { warnings: ['VALUE_INVALID p', 'INVALID_UTF8 note'] },
  ),
  untimed(
    'Firmware with two names that become one',
    { 'load<1': 0.4, 'load>1': 0.6 },
    { load_1: 0.4 },
    { warnings: ['NAME_CHANGED load<1', 'NAME_CHANGED load>1', 'NAME_CLASH load>1'] },
  ),
  untimed(
    'Firmware that names its message',
    { data: { t: 1 }, message_id: 'esp_5000' },
    { t: 1 },
    { metadata: { message_id: 'esp_5000' } },
  ),
  untimed(
    'Firmware that says where it is',
    { data: { temperature: 21.5, location: 'Indoor' } },
    { temperature: 21.5 },
    { metadata: { location: 'Indoor' } },
  ),
]

/** Hours that New York is ahead of UTC; it is behind. */
const newYorkOffset = (ms: number): number => {
  const text = new Date(ms).toLocaleString('en-US', {
    timeZone: 'America/New_York',
    timeZoneName: 'longOffset',
  })
  return Number(/GMT(-\d\d):/.exec(text)?.[1])
}

const predecessor: readonly DevicePayload[] = [
  {
    name: 'Predecessor: time inside of data',
    send: (now) => ({ data: { temperature: 21.5, timestamp: offsetTime(now, 0) } }),
    stored: (now) => [{ time: now, fields: { temperature: 21.5 } }],
  },
  {
    name: 'Predecessor: data, metadata and time',
    send: (now) => ({
      data: { temperature: 22.1, humidity: 58.4, battery_level: 91 },
      metadata: { sensor_status: 'active', firmware: '1.2.0', uptime: 86_400 },
      timestamp: localTime(now),
    }),
    stored: (now) => [
      {
        time: now,
        fields: { temperature: 22.1, humidity: 58.4, battery_level: 91 },
        metadata: { sensor_status: 'active', firmware: '1.2.0', uptime: '86400' },
      },
    ],
  },
  untimed(
    'Predecessor: MQTT simulator with a status beside its measurements',
    { api_key: 'a'.repeat(32), measurements: { power: 1 }, status: { battery_level: 88 } },
    { power: 1, 'status.battery_level': 88 },
  ),
  untimed('Predecessor: measurements as a count', { measurements: '1', t: 20 }, { measurements: '1', t: 20 }),
  untimed('Predecessor: empty data beside values', { data: null, t: 21 }, { t: 21 }),
  untimed('Predecessor: values on both sides', { t: 21, data: { hum: 40 } }, { t: 21, hum: 40 }),
  {
    name: 'Predecessor: smart meter with device id and type',
    send: (now) => ({
      device_id: 12,
      device_type: 'energy_meter',
      timestamp: now / 1000,
      data: { voltage: 231.2, current: 4.03, power_factor: 0.97, phases: { l1: 310, l2: 288, l3: 333 } },
    }),
    stored: (now) => [
      {
        time: now,
        fields: {
          voltage: 231.2,
          current: 4.03,
          power_factor: 0.97,
          'phases.l1': 310,
          'phases.l2': 288,
          'phases.l3': 333,
        },
        metadata: { device_id: '12', device_type: 'energy_meter' },
      },
    ],
  },
  untimed(
    'Predecessor: event with a nested place',
    { data: { event: 'door', open: true }, location: { building: 'A', floor: 2 } },
    { event: 'door', open: true, 'location.building': 'A', 'location.floor': 2 },
  ),
]

export const boardPayloads: readonly DevicePayload[] = [...boards, ...predecessor]
