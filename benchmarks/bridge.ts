/**
 * `npm run bench:bridge`: from Mosquitto into each store, compared with a subscriber that only counts and acknowledges, and with
 * Telegraf. The messages wait in the broker before a run begins, so that no publisher runs at the same time.
 */
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { numberArgument, parseOptions, UsageError } from '../scripts/command.ts'
import { onInterrupt } from '../simulators/interrupt.ts'
import { type Consumer, openConsumers, ours } from './bridge-consumers.ts'
import { type Figures, type GoalRow, writeRows } from './goal.ts'
import { BenchError, median, settle } from './measure.ts'
import { type Message, Publisher } from './mosquitto.ts'
import { processNamed, processTreeCpu } from './process-tree.ts'
import { type Comparison, compare } from './ratios.ts'

const help = `Messages per second from Mosquitto into the store, until they are stored.

  npm run bench:bridge -- [options]

  --messages <n>      messages of a run (50000)
  --rounds <n>        runs of each (5), after one that is not measured
  --devices <n>       that send them (1000)
  --only <names>      of counting, embedded, influxdb, telegraf, against, separated by commas
  --against <folder>  another checkout with its node_modules, whose server is measured with InfluxDB as well
  --json <file>       writes the rows of the goals to a file, too
  --help              this

Needs mosquitto. With INFLUXDB_URL and INFLUXDB_TOKEN also into InfluxDB; then with TELEGRAF, the path of that program,
also its way from Mosquitto to InfluxDB. All run by turns, each with a Mosquitto of its own. Linux only: CPU times are read
from /proc.
`

const clock = () => performance.now()
const askEveryMs = 25
/** Milliseconds without progress after which a run fails. */
const stalledMs = 30_000

const untilStored = async (consumer: Consumer, wanted: number): Promise<void> => {
  let best = 0
  let progressAt = clock()
  for (;;) {
    const stored = await consumer.stored()
    if (stored >= wanted) return
    if (stored > best) [best, progressAt] = [stored, clock()]
    if (clock() - progressAt > stalledMs)
      throw new BenchError(`${consumer.name}: ${stored} of ${wanted} are stored, and no more come`)
    await sleep(askEveryMs)
  }
}

/** One run; CPU in µs per message. */
interface Measured {
  /** Messages per second. */
  readonly rate: number
  readonly cpu: number
  readonly brokerCpu: number
  readonly influxCpu: number
}

/** CPU used so far, µs. */
interface CpuTimes {
  readonly own: number
  readonly broker: number
  readonly influx: number
}

/** A consumer with the messages that it got so far. */
class Contender {
  readonly consumer: Consumer
  readonly measured: Measured[] = []
  sent = 0
  readonly #publisher: Publisher

  private constructor(consumer: Consumer, publisher: Publisher) {
    this.consumer = consumer
    this.#publisher = publisher
  }

  static async open(consumer: Consumer): Promise<Contender> {
    return new Contender(consumer, await Publisher.open(consumer.broker.port))
  }

  /** Fills the broker while the consumer is stopped and not connected, then measures from its connection on. */
  async run(messages: number, devices: number): Promise<Measured> {
    const { broker, clientId, pid } = this.consumer
    process.kill(pid, 'SIGSTOP')
    let connection: Promise<number>
    let before: CpuTimes
    try {
      await broker.disconnect(clientId)
      await this.#publisher.publish(Array.from({ length: messages }, () => this.#nextMessage(devices)))
      before = await this.#cpu()
      // Before it runs again: Telegraf connects at once.
      connection = broker.nextConnection(clientId)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    const began = await connection
    await untilStored(this.consumer, this.sent)
    const seconds = (clock() - began) / 1000
    // Work that is left for later counts, too.
    await settle([this.consumer])
    const after = await this.#cpu()
    const perMessage = (of: 'own' | 'broker' | 'influx') => (after[of] - before[of]) / messages
    return {
      rate: messages / seconds,
      cpu: perMessage('own'),
      brokerCpu: perMessage('broker'),
      influxCpu: perMessage('influx'),
    }
  }

  async end(): Promise<void> {
    this.#publisher.close()
    await this.consumer.end()
  }

  async #cpu(): Promise<CpuTimes> {
    const influxd = await processNamed('influxd')
    return {
      own: await this.consumer.cpu(),
      broker: await processTreeCpu(this.consumer.broker.pid),
      influx: influxd === undefined ? 0 : await processTreeCpu(influxd),
    }
  }

  #nextMessage(devices: number): Message {
    this.sent += 1
    const payload = JSON.stringify({ temperature: 20 + (this.sent % 100) / 10, humidity: 60, n: this.sent })
    return { topic: `iotflow/devices/${(this.sent % devices) + 1}/telemetry`, payload }
  }
}

const intervalOf = ({ interval }: Comparison): string =>
  interval === undefined ? '' : ` (${interval.low.toFixed(2)}–${interval.high.toFixed(2)})`

const ratioOf = (one: Contender, other: Contender, of: (measured: Measured) => number): Comparison =>
  compare(
    one.measured.map((measured, at) => ({ ours: of(measured), other: of(other.measured[at] ?? measured) })),
  )

const rateOf = ({ rate }: Measured) => rate
const medianOf = ({ measured }: Contender, of: (one: Measured) => number) => median(measured.map(of))

const tableOf = (contenders: readonly Contender[], comparedWith: Contender): string => {
  const rows = contenders.map((one) => [
    one.consumer.name,
    String(Math.round(medianOf(one, rateOf))),
    medianOf(one, ({ cpu }) => cpu).toFixed(1),
    medianOf(one, ({ brokerCpu }) => brokerCpu).toFixed(1),
    medianOf(one, ({ influxCpu }) => influxCpu).toFixed(1),
    `${ratioOf(one, comparedWith, rateOf).median.toFixed(2)}${intervalOf(ratioOf(one, comparedWith, rateOf))}`,
    `${ratioOf(one, comparedWith, ({ cpu }) => cpu).median.toFixed(2)}${intervalOf(ratioOf(one, comparedWith, ({ cpu }) => cpu))}`,
  ])
  const { name } = comparedWith.consumer
  const head = ['', 'Messages/s', 'CPU µs', 'Mosquitto µs', 'influxd µs', `Rate ÷ ${name}`, `CPU ÷ ${name}`]
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('')
}

const figuresOf = (one: Contender, stored: number): Figures => ({
  name: one.consumer.name,
  rate: medianOf(one, rateOf),
  cpu: medianOf(one, ({ cpu }) => cpu),
  sent: one.sent,
  stored,
})

/** The goals that have both sides in this run. */
const rowsOf = (counts: ReadonlyMap<Contender, number>, command: string): GoalRow[] => {
  const contenders = [...counts.keys()]
  const named = (name: string) => contenders.find(({ consumer }) => consumer.name === name)
  const peer = contenders.find(({ consumer }) => consumer.name.startsWith('Telegraf'))
  const goals = [
    ['Mosquitto → bridge → InfluxDB, until stored', named(ours.influxdb), 1.2, 'Telegraf'],
    ['Mosquitto → bridge → embedded store, until stored', named(ours.embedded), 2.5, 'Telegraf → InfluxDB'],
  ] as const
  return goals.flatMap(([scenario, own, bound, what]) =>
    own === undefined || peer === undefined
      ? []
      : [
          {
            scenario,
            goal: `at least ${bound} × ${what}`,
            ...{ bound, side: 'least', command },
            ratio: ratioOf(own, peer, rateOf),
            ours: figuresOf(own, counts.get(own) ?? 0),
            peer: figuresOf(peer, counts.get(peer) ?? 0),
          } satisfies GoalRow,
        ],
  )
}

interface Arguments {
  readonly messages: number
  readonly rounds: number
  readonly devices: number
  readonly only: string[] | undefined
  readonly against: string | undefined
  readonly json: string | undefined
}

const measure = async (contenders: readonly Contender[], { messages, rounds, devices }: Arguments) => {
  for (const contender of contenders) await contender.run(messages, devices)
  for (let round = 0; round < rounds; round += 1) {
    // A drift of the machine affects the first and the last alike.
    for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
      await settle(contenders.map(({ consumer }) => consumer))
      const measured = await contender.run(messages, devices)
      contender.measured.push(measured)
      process.stderr.write(
        `  ${round + 1} of ${rounds}  ${contender.consumer.name.padEnd(20)} ${Math.round(measured.rate)}/s  ${measured.cpu.toFixed(1)} µs\n`,
      )
    }
  }
}

const bench = async (options: Arguments): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), 'iotflow-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  onInterrupt().addEventListener('abort', () => process.exit(130))
  const consumers = await openConsumers({ folder, devices: options.devices }, options)
  const contenders: Contender[] = []
  const counts = new Map<Contender, number>()
  try {
    for (const consumer of consumers) contenders.push(await Contender.open(consumer))
    await measure(contenders, options)
    for (const one of contenders) {
      const counted = await one.consumer.counted()
      if (counted !== one.sent)
        throw new BenchError(`${one.consumer.name}: ${counted} of ${one.sent} messages are stored`)
      counts.set(one, counted)
    }
  } finally {
    for (const one of contenders) await one.end()
  }
  const { messages, rounds, devices, only, json } = options
  const comparedWith =
    contenders.find(({ consumer }) => /Telegraf|other/.test(consumer.name)) ?? contenders[0]
  if (comparedWith === undefined) throw new BenchError('nothing can be measured here')
  process.stdout.write(
    `${messages} messages of ${devices} devices, medians of ${rounds} rounds by turns; CPU per message; ratios with their 95 % ` +
      `interval. Every message was stored.\n\n${tableOf(contenders, comparedWith)}`,
  )
  const names = only === undefined ? '' : ` --only ${only.join()}`
  const command = `TELEGRAF=<program> npm run bench:bridge -- --messages ${messages} --rounds ${rounds}${names}`
  if (json !== undefined) await writeRows(json, rowsOf(counts, command))
}

const parseArguments = (): Arguments | undefined => {
  const { values } = parseOptions({
    options: {
      messages: { type: 'string', default: '50000' },
      rounds: { type: 'string', default: '5' },
      devices: { type: 'string', default: '1000' },
      only: { type: 'string' },
      against: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  const whole = (name: 'messages' | 'rounds' | 'devices', max: number) =>
    numberArgument(`--${name}`, values[name], { min: 1, max, whole: true })
  return {
    messages: whole('messages', 1e7),
    rounds: whole('rounds', 100),
    devices: whole('devices', 10_000),
    only: values.only?.split(','),
    against: values.against === undefined ? undefined : resolve(values.against),
    json: values.json,
  }
}

const main = async (): Promise<void> => {
  const options = parseArguments()
  if (options === undefined) process.stdout.write(help)
  else await bench(options)
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    if (error instanceof UsageError || error instanceof BenchError) process.stderr.write(`${error.message}\n`)
    else console.error(error)
    process.exit(error instanceof UsageError ? 2 : 1)
  },
)
