/** Messages of devices and programs in homes. */
import { type DevicePayload, localTime, offsetTime, untimed } from './payload.ts'

const tasmota: readonly DevicePayload[] = [
  {
    name: 'Tasmota: climate sensor',
    send: (now) => ({
      Time: localTime(now),
      AM2301: { Temperature: 23.4, Humidity: 51.2, DewPoint: 12.7 },
      TempUnit: 'C',
    }),
    stored: (now) => [
      {
        time: now,
        fields: {
          'AM2301.Temperature': 23.4,
          'AM2301.Humidity': 51.2,
          'AM2301.DewPoint': 12.7,
          TempUnit: 'C',
        },
      },
    ],
  },
  {
    name: 'Tasmota: three-phase meter',
    send: (now) => ({
      Time: localTime(now),
      ENERGY: {
        TotalStartTime: '2024-03-02T10:11:12',
        Total: 812.417,
        Power: [10, 0, 3],
        Factor: [0.91, 0, 0.4],
      },
    }),
    stored: (now) => [
      {
        time: now,
        fields: {
          'ENERGY.TotalStartTime': '2024-03-02T10:11:12',
          'ENERGY.Total': 812.417,
          'ENERGY.Power.0': 10,
          'ENERGY.Power.1': 0,
          'ENERGY.Power.2': 3,
          'ENERGY.Factor.0': 0.91,
          'ENERGY.Factor.1': 0,
          'ENERGY.Factor.2': 0.4,
        },
      },
    ],
  },
  {
    name: 'Tasmota: state before the first NTP answer',
    send: () => ({
      Time: '1970-01-01T00:00:36',
      Uptime: '0T00:00:36',
      UptimeSec: 36,
      Heap: 27,
      POWER: 'ON',
      Wifi: { AP: 1, SSId: 'shed', RSSI: 74, Signal: -63 },
    }),
    stored: () => [
      {
        fields: {
          Uptime: '0T00:00:36',
          UptimeSec: 36,
          Heap: 27,
          POWER: 'ON',
          'Wifi.AP': 1,
          'Wifi.SSId': 'shed',
          'Wifi.RSSI': 74,
          'Wifi.Signal': -63,
        },
        metadata: { device_time: '1970-01-01T00:00:36' },
      },
    ],
    warnings: ['CLOCK_WRONG Time'],
  },
  {
    name: 'Tasmota: local time of its zone',
    timezone: 'Asia/Kolkata',
    send: (now) => ({ Time: localTime(now, 5.5), 'DS18B20-1': { Id: '01193A', Temperature: 61.3 } }),
    stored: (now) => [{ time: now, fields: { 'DS18B20-1.Id': '01193A', 'DS18B20-1.Temperature': 61.3 } }],
  },
  untimed(
    'Tasmota: last will',
    { LWT: 'Offline', IPAddress: '192.0.2.17' },
    { LWT: 'Offline', IPAddress: '192.0.2.17' },
  ),
]

const shelly: readonly DevicePayload[] = [
  {
    name: 'Shelly Gen2: switch status',
    send: (now) => ({
      id: 0,
      source: 'timer',
      output: true,
      apower: 41.2,
      voltage: 229.8,
      aenergy: { total: 123.5, by_minute: [0, 1.5, 2], minute_ts: now / 1000 },
      temperature: { tC: 48.3, tF: 118.9 },
    }),
    stored: (now) => [
      {
        fields: {
          id: 0,
          source: 'timer',
          output: true,
          apower: 41.2,
          voltage: 229.8,
          'aenergy.total': 123.5,
          'aenergy.by_minute.0': 0,
          'aenergy.by_minute.1': 1.5,
          'aenergy.by_minute.2': 2,
          'aenergy.minute_ts': now / 1000,
          'temperature.tC': 48.3,
          'temperature.tF': 118.9,
        },
      },
    ],
  },
  {
    name: 'Shelly Gen2: notification',
    send: (now) => ({
      src: 'shellyplus1pm-0a1b2c',
      dst: 'iot/events',
      method: 'NotifyStatus',
      params: { ts: now / 1000, 'switch:0': { id: 0, apower: 12.6, errors: [] } },
    }),
    stored: (now) => [
      {
        fields: {
          src: 'shellyplus1pm-0a1b2c',
          dst: 'iot/events',
          method: 'NotifyStatus',
          'params.ts': now / 1000,
          'params.switch:0.id': 0,
          'params.switch:0.apower': 12.6,
        },
      },
    ],
  },
  untimed(
    'Shelly Gen2: input without a value',
    { id: 1, state: null, percent: 37.5, xpercent: null },
    { id: 1, percent: 37.5 },
  ),
  {
    name: 'Shelly Gen1: status',
    send: (now) => ({
      wifi_sta: { connected: true, ip: '192.0.2.40', rssi: -58 },
      time: '',
      unixtime: now / 1000,
      relays: [{ ison: false, has_timer: false, source: 'http' }],
      meters: [{ power: 0, is_valid: true, counters: [0, 0.4, 1.2], total: 5104 }],
      temperature: 41.7,
      overtemperature: false,
      tmp: { tC: 41.7, is_valid: true },
    }),
    stored: (now) => [
      {
        fields: {
          'wifi_sta.connected': true,
          'wifi_sta.ip': '192.0.2.40',
          'wifi_sta.rssi': -58,
          unixtime: now / 1000,
          'relays.0.ison': false,
          'relays.0.has_timer': false,
          'relays.0.source': 'http',
          'meters.0.power': 0,
          'meters.0.is_valid': true,
          'meters.0.counters.0': 0,
          'meters.0.counters.1': 0.4,
          'meters.0.counters.2': 1.2,
          'meters.0.total': 5104,
          temperature: 41.7,
          overtemperature: false,
          'tmp.tC': 41.7,
          'tmp.is_valid': true,
        },
        metadata: { time: '' },
      },
    ],
    warnings: ['TIME_INVALID time'],
  },
  untimed(
    'Shelly Gen1: door sensor',
    {
      sensor: { state: 'open', is_valid: true },
      lux: { value: 812, illumination: 'bright' },
      bat: { value: 94, voltage: 2.91 },
    },
    {
      'sensor.state': 'open',
      'sensor.is_valid': true,
      'lux.value': 812,
      'lux.illumination': 'bright',
      'bat.value': 94,
      'bat.voltage': 2.91,
    },
  ),
]

const zigbee: readonly DevicePayload[] = [
  untimed(
    'Zigbee2MQTT: climate sensor',
    { battery: 87, humidity: 44.61, linkquality: 120, pressure: 998.2, temperature: 20.17, voltage: 2985 },
    { battery: 87, humidity: 44.61, linkquality: 120, pressure: 998.2, temperature: 20.17, voltage: 2985 },
  ),
  untimed(
    'Zigbee2MQTT: contact with a pending update',
    {
      battery: null,
      contact: false,
      tamper: false,
      update: { installed_version: 4, latest_version: 5, state: 'available' },
      update_available: true,
    },
    {
      contact: false,
      tamper: false,
      'update.installed_version': 4,
      'update.latest_version': 5,
      'update.state': 'available',
      update_available: true,
    },
  ),
  {
    name: 'Zigbee2MQTT: last seen in ms, color lamp',
    send: (now) => ({
      brightness: 180,
      color: { hue: 32, saturation: 80, x: 0.4599, y: 0.4106 },
      color_mode: 'xy',
      last_seen: now,
      state: 'ON',
    }),
    stored: (now) => [
      {
        fields: {
          brightness: 180,
          'color.hue': 32,
          'color.saturation': 80,
          'color.x': 0.4599,
          'color.y': 0.4106,
          color_mode: 'xy',
          last_seen: now,
          state: 'ON',
        },
      },
    ],
  },
  untimed(
    'Zigbee2MQTT: remote control with an empty action',
    {
      action: '',
      operation_mode: 'event',
      device: { friendlyName: 'Wohnzimmer Taster', manufacturerID: 4476 },
    },
    {
      action: '',
      operation_mode: 'event',
      'device.friendlyName': 'Wohnzimmer Taster',
      'device.manufacturerID': 4476,
    },
  ),
]

const esphome: readonly DevicePayload[] = [
  untimed(
    'ESPHome: names of its entities',
    { 'Living Room Temperature': 21.4, 'CO₂': 612, 'PM <2.5µm': 7, 'Wifi Signal %': 62 },
    { 'Living Room Temperature': 21.4, 'CO₂': 612, 'PM _2.5µm': 7, 'Wifi Signal %': 62 },
    { warnings: ['NAME_CHANGED PM <2.5µm'] },
  ),
  untimed(
    'ESPHome: light state',
    { color_mode: 'rgb', state: 'ON', brightness: 255, color: { r: 255, g: 90, b: 0 }, effect: 'None' },
    {
      color_mode: 'rgb',
      state: 'ON',
      brightness: 255,
      'color.r': 255,
      'color.g': 90,
      'color.b': 0,
      effect: 'None',
    },
  ),
  untimed(
    'ESPHome: heat pump',
    { 'LW setpoint (main)': 35.5, flow: 12, 'defrost?': false },
    { 'LW setpoint (main)': 35.5, flow: 12, defrost_: false },
    { warnings: ['NAME_CHANGED defrost?'] },
  ),
  untimed(
    'ESPHome: not a number',
    { id: 'sensor-adc', state: 'NA', value: 'NaN' },
    { id: 'sensor-adc', state: 'NA', value: 'NaN' },
  ),
]

const homeAssistant: readonly DevicePayload[] = [
  {
    name: 'Home Assistant: state of an entity',
    send: (now) => ({
      entity_id: 'sensor.balkon',
      state: '18.6',
      attributes: { unit_of_measurement: '°C', friendly_name: 'Balkon', options: ['a', 'b'] },
      last_changed: offsetTime(now, 0),
      context: { id: '01HZX', parent_id: null, user_id: null },
    }),
    stored: (now) => [
      {
        fields: {
          entity_id: 'sensor.balkon',
          state: '18.6',
          'attributes.unit_of_measurement': '°C',
          'attributes.friendly_name': 'Balkon',
          'attributes.options.0': 'a',
          'attributes.options.1': 'b',
          last_changed: offsetTime(now, 0),
          'context.id': '01HZX',
        },
      },
    ],
  },
  {
    name: 'Home Assistant: automation with a data envelope',
    send: (now) => ({
      event_type: 'reading',
      time_fired: offsetTime(now, 1),
      data: { kitchen: 20.9, heating: true },
    }),
    stored: (now) => [
      {
        fields: { kitchen: 20.9, heating: true },
        metadata: { event_type: 'reading', time_fired: offsetTime(now, 1) },
      },
    ],
  },
  untimed('Home Assistant: number as text', { value: '317.3988' }, { value: '317.3988' }),
]

const espurna: readonly DevicePayload[] = [
  {
    name: 'ESPurna: status as JSON',
    send: (now) => ({
      'relay/0': 1,
      vcc: 2777,
      rssi: -71,
      host: 'ESPURNA-4C1D',
      ip: '192.0.2.61',
      time: localTime(now).replace('T', ' '),
      uptime: 90_211,
    }),
    stored: (now) => [
      {
        time: now,
        fields: {
          'relay/0': 1,
          vcc: 2777,
          rssi: -71,
          host: 'ESPURNA-4C1D',
          ip: '192.0.2.61',
          uptime: 90_211,
        },
      },
    ],
  },
  untimed(
    'ESPurna: sensors with indexes',
    { 'temperature/0': 22.5, 'humidity/0': 47, 'current/0': 0.231, mac: 'A0:B1:C2:00:4C:1D' },
    { 'temperature/0': 22.5, 'humidity/0': 47, 'current/0': 0.231, mac: 'A0:B1:C2:00:4C:1D' },
  ),
]

const ownTracks: readonly DevicePayload[] = [
  {
    name: 'OwnTracks: location',
    send: (now) => ({
      _type: 'location',
      tid: 'ab',
      lat: 52.52003,
      lon: 13.40495,
      acc: 11,
      alt: 34,
      batt: 71,
      conn: 'm',
      tst: now / 1000,
    }),
    stored: (now) => [
      {
        time: now,
        fields: {
          type: 'location',
          tid: 'ab',
          lat: 52.52003,
          lon: 13.40495,
          acc: 11,
          alt: 34,
          batt: 71,
          conn: 'm',
        },
      },
    ],
    warnings: ['NAME_CHANGED _type'],
  },
  {
    name: 'OwnTracks: transition',
    send: (now) => ({
      _type: 'transition',
      event: 'enter',
      desc: 'Garten',
      wtst: 1_700_000_000,
      lat: 48.2,
      lon: 16.37,
      tst: now / 1000,
      inregions: ['Garten', 'Wien'],
    }),
    stored: (now) => [
      {
        time: now,
        fields: {
          type: 'transition',
          event: 'enter',
          desc: 'Garten',
          wtst: 1_700_000_000,
          lat: 48.2,
          lon: 16.37,
          'inregions.0': 'Garten',
          'inregions.1': 'Wien',
        },
      },
    ],
    warnings: ['NAME_CHANGED _type'],
  },
]

export const homePayloads: readonly DevicePayload[] = [
  ...tasmota,
  ...shelly,
  ...zigbee,
  ...esphome,
  ...homeAssistant,
  ...espurna,
  ...ownTracks,
]
