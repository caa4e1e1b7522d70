/** The arguments of `npm run simulate`. */
import { parseArgs } from 'node:util'
import type { FleetOptions } from './fleet.ts'

/** A bad argument; the message is one sentence. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export const help = `Simulated devices: they register, send readings, and everything that was acknowledged is read back and compared.

  npm run simulate -- [options]

  --devices <n>           how many devices (5)
  --duration <s>          how long they send, seconds (30)
  --rate <n>              readings per second and device (1)
  --protocol <p>          http, mqtt, or both: half of the devices each (both)
  --url <url>             the layer (http://127.0.0.1:5000)
  --mqtt-url <url>        its MQTT broker (mqtt://127.0.0.1:1883)
  --enrollment-key <key>  where registration asks for one
  --json                  a summary for programs instead of the table
  --help                  this

The layer takes 100 readings per minute and device unless it is set otherwise; a device that is held back sends fewer.
Exit code: 0 when every acknowledged reading came back exactly, 1 when not or when nothing was acknowledged,
2 when an argument is wrong. Ctrl-C stops the sending; what was sent is still checked.
`

export interface SimulateArguments {
  readonly help: boolean
  readonly json: boolean
  readonly fleet: Pick<
    FleetOptions,
    'devices' | 'durationS' | 'rate' | 'protocol' | 'url' | 'mqttUrl' | 'enrollmentKey'
  >
}

/**
 * A number given as an argument.
 * @throws {UsageError} when it is none, or not between `min` and `max`, both included.
 */
export function numberArgument(
  flag: string,
  text: string,
  { min, max, whole = false }: { min: number; max: number; whole?: boolean },
): number {
  const value = /^(?:\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max && (!whole || Number.isInteger(value))) return value
  throw new UsageError(
    `${flag} must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}, not "${text}".`,
  )
}

const urlArgument = (flag: string, text: string, schemes: readonly string[]): string => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !schemes.includes(url.protocol.slice(0, -1)) || url.hostname === '') {
    const shown = schemes.map((scheme) => `${scheme}://`).join(', ')
    throw new UsageError(`${flag} must be an address that begins with one of ${shown}, not "${text}".`)
  }
  return text.replace(/\/+$/, '')
}

/** What `parseArgs` says, as one sentence. */
export function usageErrorOf(error: unknown): UsageError {
  const message = error instanceof Error ? error.message : String(error)
  const [first = message] = message.split(/\n|\. /)
  return new UsageError(`${first.replace(/\.$/, '')}; --help shows what there is.`)
}

/** @throws {UsageError} naming the first argument that is wrong. */
export function parseArguments(args: readonly string[]): SimulateArguments {
  const { values } = (() => {
    try {
      return parseArgs({
        args: [...args],
        options: {
          devices: { type: 'string', default: '5' },
          duration: { type: 'string', default: '30' },
          rate: { type: 'string', default: '1' },
          protocol: { type: 'string', default: 'both' },
          url: { type: 'string', default: 'http://127.0.0.1:5000' },
          'mqtt-url': { type: 'string', default: 'mqtt://127.0.0.1:1883' },
          'enrollment-key': { type: 'string' },
          json: { type: 'boolean', default: false },
          help: { type: 'boolean', short: 'h', default: false },
        },
      })
    } catch (error) {
      throw usageErrorOf(error)
    }
  })()
  const { protocol } = values
  if (protocol !== 'http' && protocol !== 'mqtt' && protocol !== 'both') {
    throw new UsageError(`--protocol must be http, mqtt or both, not "${protocol}".`)
  }
  return {
    help: values.help,
    json: values.json,
    fleet: {
      devices: numberArgument('--devices', values.devices, { min: 1, max: 10_000, whole: true }),
      durationS: numberArgument('--duration', values.duration, { min: 1, max: 86_400 }),
      rate: numberArgument('--rate', values.rate, { min: 0.001, max: 1000 }),
      protocol,
      url: urlArgument('--url', values.url, ['http', 'https']),
      mqttUrl: urlArgument('--mqtt-url', values['mqtt-url'], ['mqtt', 'mqtts', 'ws', 'wss']),
      enrollmentKey: values['enrollment-key'],
    },
  }
}
