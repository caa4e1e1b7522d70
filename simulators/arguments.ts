/** The arguments of `npm run simulate`. */
import { Command, CommanderError, Option } from 'commander'
import { numberArgument, UsageError } from '../scripts/command.ts'
import { type FaultRates, noFaults } from './faults.ts'
import type { FleetOptions } from './fleet.ts'
import { defaultKeyFile } from './key-file.ts'
import { type Profile, type ProfileName, profileNames, profiles } from './profiles.ts'
import type { DeviceType } from './signals/device-type.ts'
import { deviceTypes, findType, presetNames, typeNames, typesOfPreset } from './signals/device-types.ts'
import type { SiteKind } from './signals/site.ts'

export interface SimulateArguments {
  /** The text to print instead of a simulation; undefined: none. */
  readonly help: string | undefined
  readonly json: boolean
  readonly interactive: boolean
  readonly fleet: Omit<FleetOptions, 'signal' | 'drainMs' | 'settleMs' | 'pageSize'>
}

const defaultUrl = 'http://127.0.0.1:5000'
const maxDevices = 10_000
const longestS = 7 * 86_400
const defaultDurationS = 60

const footer = `
Examples:
  npm run simulate -- --preset home
  npm run simulate -- --device-type temperature --duration 2m
  npm run simulate -- --preset factory --protocol mixed --failure-rate 5%
  ADMIN_TOKEN=$(cat .iotflow/admin-token) npm run simulate -- --devices 5000 --protocol mqtt --duration 5m
  npm run simulate -- --interactive

Times are seconds, or end with s, m or h. Shares are 5% or 0.05. Keys of devices are kept, so that a second run with
the same names uses the same devices.

Exit code: 0 when every acknowledged reading came back once and exactly, 1 when not or when nothing was acknowledged,
2 when an argument is wrong. Ctrl-C stops the sending; readings sent before are still checked.
`

/** A parser for the value of a flag; the flag is named in its error. */
type Parser<T> = (flag: string) => (text: string) => T

const time =
  (min: number, max: number): Parser<number> =>
  (flag) =>
  (text) => {
    const match = /^([\d.]+)(s|m|h)?$/.exec(text)
    if (match === null)
      throw new UsageError(`${flag} must be a time such as 90, 90s, 5m or 1h, not "${text}".`)
    const factor = { s: 1, m: 60, h: 3600 }[(match[2] ?? 's') as 's' | 'm' | 'h']
    return factor * numberArgument(flag, match[1] ?? '', { min: min / factor, max: max / factor })
  }

const share: Parser<number> = (flag) => (text) => {
  const percent = /^(.+)%$/.exec(text)
  if (percent !== null) return numberArgument(flag, percent[1] ?? '', { min: 0, max: 100 }) / 100
  const value = Number(text)
  if (value >= 0 && value <= 1 && text.trim() !== '') return value
  throw new UsageError(`${flag} must be a share such as 5% or 0.05, not "${text}".`)
}

const number =
  (min: number, max: number, whole = false): Parser<number> =>
  (flag) =>
  (text) =>
    numberArgument(flag, text, { min, max, whole })

const url =
  (...schemes: readonly string[]): Parser<string> =>
  (flag) =>
  (text) => {
    const parsed = URL.canParse(text) ? new URL(text) : undefined
    if (parsed === undefined || !schemes.includes(parsed.protocol.slice(0, -1)) || parsed.hostname === '') {
      const shown = schemes.map((scheme) => `${scheme}://`).join(', ')
      throw new UsageError(`${flag} must be an address that begins with one of ${shown}, not "${text}".`)
    }
    return text.replace(/\/+$/, '')
  }

const instant: Parser<number> = (flag) => (text) => {
  const at = Date.parse(text)
  if (/^\d{4}-\d\d-\d\dT.*(?:Z|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(at)) return at
  throw new UsageError(`${flag} must be a time such as 2026-06-01T08:00:00Z, not "${text}".`)
}

const namePart: Parser<string> = (flag) => (text) => {
  if (/^[A-Za-z0-9][\w.-]{0,63}$/.test(text)) return text
  throw new UsageError(`${flag} must be 1 to 64 letters, digits, - _ or ., not "${text}".`)
}

const oneOf =
  (...choices: readonly string[]): Parser<string> =>
  (flag) =>
  (text) => {
    if (choices.includes(text)) return text
    throw new UsageError(`${flag} must be one of ${choices.join(', ')}, not "${text}".`)
  }

const text: Parser<string> = () => (given) => given

interface Given {
  readonly preset?: SiteKind
  readonly deviceType?: string
  readonly devices?: number
  readonly duration?: number
  readonly protocol?: 'http' | 'mqtt' | 'mixed' | 'both'
  readonly mqttVersion?: '3.1.1' | '5' | 'mixed'
  readonly profile?: ProfileName
  readonly interval?: number
  readonly rate?: number
  readonly failureRate?: number
  readonly disconnectRate?: number
  readonly duplicateRate?: number
  readonly outOfOrderRate?: number
  readonly offlineRate?: number
  readonly offlineTime?: number
  readonly wrongClockRate?: number
  readonly commandSilentRate?: number
  readonly commandDuplicateRate?: number
  readonly latency?: number
  readonly name?: string
  readonly seed?: number
  readonly start?: number
  /** False for `--no-keys`. */
  readonly keys?: string | false
  readonly url?: string
  readonly mqttUrl?: string
  readonly enrollmentKey?: string
  readonly adminToken?: string
  readonly interactive?: boolean
  readonly json?: boolean
  readonly serverPid?: number
}

/** @param parse undefined for a flag without a value. */
const option = <T>(flags: string, description: string, parse?: Parser<T>): Option => {
  const [flag = ''] = flags.split(' ')
  const made = new Option(flags, description)
  return parse === undefined ? made : made.argParser(parse(flag))
}

const protocols = ['http', 'mqtt', 'mixed', 'both']

const fleetOptions = (): Option[] => [
  option('--preset <place>', 'the devices of a home (9), office (16) or factory (30)', oneOf(...presetNames)),
  option('--device-type <type>', `devices of one type: ${typeNames.join(', ')}`, oneOf(...typeNames)),
  option('--devices <n>', `how many devices, up to ${maxDevices}`, number(1, maxDevices, true)),
  option('--duration <time>', 'how long they send (60; interactive: without end)', time(1, longestS)),
  option('--protocol <p>', 'http, mqtt, or mixed: every other device over MQTT (mixed)', oneOf(...protocols)),
  option('--mqtt-version <v>', '3.1.1, 5 or mixed (3.1.1)', oneOf('3.1.1', '5', 'mixed')),
  option('--profile <name>', `how often they send: ${profileNames.join(', ')}`, oneOf(...profileNames)),
  option('--interval <time>', 'between two readings of a device (profile)', time(0.001, 86_400)),
  option('--rate <n>', 'readings per second and device: another way to say it', number(0.0001, 1000)),
  option('--name <text>', 'first part of each name (the preset, or sim)', namePart),
  option(
    '--seed <n>',
    'repeats readings and faults, together with --start (1)',
    number(0, 2 ** 32 - 1, true),
  ),
  option('--start <time>', 'what the clocks of the devices show when they begin to send (now)', instant),
]

const faultOptions = (): Option[] => [
  option('--failure-rate <share>', 'messages that get lost, or whose answer does', share),
  option('--disconnect-rate <share>', 'messages after which the connection breaks', share),
  option('--duplicate-rate <share>', 'messages that are sent twice', share),
  option('--out-of-order-rate <share>', 'readings that are sent after a later one', share),
  option(
    '--offline-rate <share>',
    'readings after which a device goes offline and keeps its readings',
    share,
  ),
  option('--offline-time <time>', `how long it is offline, about (${noFaults.offlineS})`, time(0.1, 86_400)),
  option('--wrong-clock-rate <share>', 'devices whose clock is wrong', share),
  option('--command-silent-rate <share>', 'commands that get no answer', share),
  option('--command-duplicate-rate <share>', 'commands that are answered twice', share),
  option('--latency <ms>', 'mean time that the network adds to a message', number(0, 60_000)),
]

const serverOptions = (): Option[] => [
  option('--url <url>', `the server (${defaultUrl})`, url('http', 'https')),
  option('--mqtt-url <url>', 'its MQTT broker (as the server says)', url('mqtt', 'mqtts', 'ws', 'wss')),
  option('--enrollment-key <key>', 'needed when registration asks for one', text).env('ENROLLMENT_KEY'),
  option('--admin-token <token>', 'registers all devices by one import', text).env('ADMIN_TOKEN'),
  option('--keys <file>', `where the keys of the devices are kept (${defaultKeyFile})`, text),
  option('--no-keys', 'keeps no keys').default(undefined),
  option('--interactive', 'add, stop, break and repair devices while it runs'),
  option('--json', 'a summary for programs instead of the table'),
  option('--server-pid <n>', 'reports CPU and memory of this process too', number(1, 2 ** 31 - 1, true)),
]

const program = (): Command => {
  const command = new Command('npm run simulate --')
    .description(
      'Simulated devices register and send readings. Every acknowledged reading is read back and compared.',
    )
    .helpOption('-h, --help', 'this')
    .addHelpText('after', footer)
    .allowExcessArguments(false)
    .exitOverride()
    .configureHelp({ helpWidth: 110 })
    .configureOutput({ writeOut: () => undefined, writeErr: () => undefined })
  const groups = [
    ['Fleet:', fleetOptions()],
    ['Faults:', faultOptions()],
    ['Server and output:', serverOptions()],
  ] as const
  for (const [title, options] of groups) {
    for (const one of options) command.addOption(one.helpGroup(title))
  }
  return command
}

/** The sentence of an error of the parser. */
const usageErrorOf = ({ message }: CommanderError): UsageError => {
  const [first = ''] = message.replace(/^error: /, '').split('\n')
  return new UsageError(
    `${first.charAt(0).toUpperCase()}${first.slice(1).replace(/\.$/, '')}; --help lists the options.`,
  )
}

const typesOf = ({ preset, deviceType, devices }: Given): readonly DeviceType[] => {
  if (preset !== undefined && deviceType !== undefined)
    throw new UsageError('--preset and --device-type are two ways to say which devices there are: give one.')
  const type = deviceType === undefined ? undefined : findType(deviceType)
  const cycle =
    type !== undefined
      ? [type]
      : preset === undefined && devices !== undefined
        ? deviceTypes
        : typesOfPreset(preset ?? 'home')
  return Array.from({ length: devices ?? cycle.length }, (_, at) => cycle[at % cycle.length] as DeviceType)
}

const profileOf = ({ profile, interval, rate }: Given): Profile => {
  if (interval !== undefined && rate !== undefined)
    throw new UsageError('--interval and --rate say the same thing in two ways: give one.')
  const intervalS = interval ?? (rate === undefined ? undefined : 1 / rate)
  return intervalS === undefined
    ? profiles[profile ?? 'default']
    : { ...profiles[profile ?? 'default'], intervalS }
}

const ratesOf = (given: Given): FaultRates => ({
  failure: given.failureRate ?? 0,
  disconnect: given.disconnectRate ?? 0,
  duplicate: given.duplicateRate ?? 0,
  outOfOrder: given.outOfOrderRate ?? 0,
  offline: given.offlineRate ?? 0,
  offlineS: given.offlineTime ?? noFaults.offlineS,
  wrongClock: given.wrongClockRate ?? 0,
  silent: given.commandSilentRate ?? 0,
  answerTwice: given.commandDuplicateRate ?? 0,
  latencyMs: given.latency ?? 0,
})

const fleetOf = (given: Given): SimulateArguments['fleet'] => {
  const { preset, deviceType, protocol } = given
  return {
    url: given.url ?? defaultUrl,
    mqttUrl: given.mqttUrl,
    mqttVersion: given.mqttVersion ?? '3.1.1',
    // Earlier versions called it so.
    protocol: protocol === 'both' ? 'mixed' : (protocol ?? 'mixed'),
    types: typesOf(given),
    durationS: given.duration ?? (given.interactive ? Number.POSITIVE_INFINITY : defaultDurationS),
    profile: profileOf(given),
    rates: ratesOf(given),
    site: preset ?? (deviceType === 'industrial' ? 'factory' : 'home'),
    name: given.name ?? preset ?? 'sim',
    seed: given.seed ?? 1,
    startAt: given.start,
    enrollmentKey: given.enrollmentKey || undefined,
    adminToken: given.adminToken || undefined,
    serverPid: given.serverPid,
    keyFile: given.keys === false ? undefined : (given.keys ?? defaultKeyFile),
  }
}

/**
 * @param args without the names of node and the program.
 * @throws {UsageError} The message names the first wrong argument.
 */
export function parseArguments(args: readonly string[]): SimulateArguments {
  const command = program()
  let help: string | undefined
  command.configureOutput({
    writeOut: (text) => {
      help = `${help ?? ''}${text}`
    },
  })
  try {
    command.parse(args, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (help === undefined) throw usageErrorOf(error)
  }
  const given = command.opts<Given>()
  if (given.interactive && given.json)
    throw new UsageError('--interactive needs a terminal, and --json is for programs: give one.')
  return {
    help,
    json: given.json === true,
    interactive: given.interactive === true,
    fleet: fleetOf(given),
  }
}
