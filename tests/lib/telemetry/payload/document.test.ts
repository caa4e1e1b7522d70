import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { arrivalTime } from '../../../../lib/telemetry/payload/arrival.ts'
import { decodePayload } from '../../../../lib/telemetry/payload/parse.ts'
import { warningCodes } from '../../../../lib/telemetry/reading.ts'
import { formatTime } from '../../../../lib/telemetry/time.ts'
import { arrival, parse, receivedAt } from './parsing.ts'

const text = readFileSync('docs/telemetry.md', 'utf8')

/** The rows of the table below a heading, as cells. */
const tableOf = (heading: string): string[][] => {
  const section = text.split(/^##+ /m).find((part) => part.startsWith(heading)) ?? ''
  const lines = section.split('\n').filter((line) => line.startsWith('|'))
  return lines.slice(2).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

/** The bytes of a message in the document, which shows those that are no text as escapes. */
const bytesOf = (cell: string): Uint8Array => {
  const shown = cell.slice(1, -1)
  if (!/\\(?:0|x[\da-f]{2})/.test(shown)) return Buffer.from(shown)
  return Buffer.from(
    shown.replaceAll(/\\(?:0|x([\da-f]{2}))/g, (_, hex = '0') =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    ),
    'latin1',
  )
}

const rows = tableOf('What your device sends')

describe('the table of what devices send', () => {
  it('has a row for each of these', () => {
    for (const product of [
      ...['Tasmota', 'Shelly', 'Zigbee2MQTT', 'ESPHome', 'OwnTracks', 'ChirpStack', 'The Things Network'],
      ...['SenML', 'Sparkplug', 'Home Assistant', 'ESP32', 'ESPurna', 'Telegraf', 'Node-RED', 'predecessor'],
    ])
      expect(
        rows.some(([device]) => device?.includes(product)),
        product,
      ).toBe(true)
  })

  it.each(rows)('is right about %s', (_device, sent = '', stored = '') => {
    const told = (what: string) =>
      [...stored.matchAll(new RegExp(`${what} \`([^\`]*)\``, 'g'))].map(([, value = '']) => value)
    const { body, invalidUtf8 } = decodePayload(bytesOf(sent))
    const { readings, rejected, warnings } = parse(body, { invalidUtf8, timezone: 'Europe/Berlin' })
    expect(rejected).toEqual([])
    const fields: unknown = JSON.parse(/^`([^`]*)`/.exec(stored)?.[1] ?? '')
    expect(readings.map(({ reading }) => reading.fields)).toEqual(Array.isArray(fields) ? fields : [fields])
    const [metadata] = told('metadata')
    expect(readings[0]?.reading.metadata).toEqual(metadata === undefined ? undefined : JSON.parse(metadata))
    const [time] = told('time')
    const [first] = readings
    if (readings.length === 1)
      expect(formatTime(first?.reading.time ?? 0n)).toBe(
        time ?? formatTime(arrivalTime(receivedAt, arrival.messageId, 0)),
      )
    expect(warnings.map(({ code }) => code)).toEqual(told('warning'))
  })
})

it('the table of warnings names every code', () => {
  expect(tableOf('Warnings').map(([code]) => code)).toEqual(warningCodes.map((code) => `\`${code}\``))
})
