/** `npm run costs`: what a fleet costs in a month on AWS, where its limits lie, and from which rate a stream pays instead of the queue. */
import { numberArgument, parseOptions, runCommand } from '../scripts/command.ts'
import { type QueueResult, seededRandom, simulateQueue } from './queue-simulation.ts'

const help = `The costs of a fleet in a month by the list prices below, and the waiting times of its queue by a simulation.

  npm run costs -- [--interval 60] [--bytes 400] [--call-ms 20] [--message-ms 0.2] [--prices]

  --interval <s>     pause between two messages of a device (default 60)
  --bytes <n>        size of a message as the rule puts it into the queue (default 400)
  --call-ms <n>      time of a call without messages, from npm run bench:queue (default 20)
  --message-ms <n>   time of each message in it (default 0.2: 100 messages take 40 ms, 2,500 messages/s)
  --prices           prints the prices with their sources, too
`

export interface Price {
  readonly usd: number
  readonly per: string
  readonly source: string
  /** Whether the price for eu-central-1 was read at its source on {@link pricesOf}; else it is a figure to check there. */
  readonly verified: boolean
}

/** The day on which the prices were collected. */
export const pricesOf = '2026-11-29'

const iotPage = 'https://aws.amazon.com/iot-core/pricing/'
/** On demand, without free tiers and without discounts for volume, which begin at 300 million to a billion a month. */
export const prices = {
  connectionMinutes: { usd: 0.096, per: 'million minutes', source: iotPage, verified: false },
  messages: { usd: 1.2, per: 'million messages of up to 5 KB', source: iotPage, verified: false },
  rules: { usd: 0.18, per: 'million rules triggered', source: iotPage, verified: false },
  actions: { usd: 0.18, per: 'million actions', source: iotPage, verified: false },
  queueRequests: {
    usd: 0.4,
    per: 'million requests of up to 64 KB',
    source: 'https://aws.amazon.com/sqs/pricing/',
    verified: false,
  },
  calls: {
    usd: 0.2,
    per: 'million calls',
    source: 'https://aws.amazon.com/lambda/pricing/',
    verified: false,
  },
  computing: {
    usd: 0.0000133334,
    per: 'GB and second, Arm',
    source: 'https://aws.amazon.com/lambda/pricing/',
    verified: false,
  },
  shardHours: {
    usd: 0.018,
    per: 'hour of a shard: 1,000 records and 1 MB a second',
    source: 'https://aws.amazon.com/kinesis/data-streams/pricing/',
    verified: false,
  },
  records: {
    usd: 0.0175,
    per: 'million records of up to 25 KB',
    source: 'https://aws.amazon.com/kinesis/data-streams/pricing/',
    verified: false,
  },
  brokerHours: {
    usd: 0.05,
    per: 'hour of the smallest broker of MSK; three are needed',
    source: 'https://aws.amazon.com/msk/pricing/',
    verified: false,
  },
} satisfies Record<string, Price>

const secondsOfMonth = 30 * 86_400
const million = 1_000_000
/** As serverless.yml configures the queue. */
const [batch, windowMs, memoryGb] = [100, 1000, 0.5]
/** SQS bills each poll; five pollers ask once in 20 s when nothing comes. */
const idlePolls = (5 * secondsOfMonth) / 20

export interface Fleet {
  readonly devices: number
  /** Pause between two messages of a device, s. */
  readonly intervalS: number
  /** Of a message in the queue. */
  readonly bytes: number
  readonly messagesPerCall: number
  /** Mean time of a call, ms. */
  readonly callMs: number
}

/** US dollars a month, by what they are paid for. */
export function costsOf({ devices, intervalS, messagesPerCall, callMs }: Fleet) {
  const messages = (devices * secondsOfMonth) / intervalS
  const calls = messages / messagesPerCall
  const perMillion = (count: number, { usd }: Price) => (count / million) * usd
  return {
    connection: perMillion((devices * secondsOfMonth) / 60, prices.connectionMinutes),
    messages: perMillion(messages, prices.messages),
    rule: perMillion(messages, prices.rules) + perMillion(messages, prices.actions),
    // One request puts a message in; one takes a batch out, and one deletes it.
    queue: perMillion(messages + 2 * calls + idlePolls, prices.queueRequests),
    functions: perMillion(calls, prices.calls) + calls * (callMs / 1000) * memoryGb * prices.computing.usd,
  }
}

/** US dollars a month for the way from the rule to the function: through the queue, and through a stream. */
export function queueAgainstStream(messagesPerS: number, bytes: number) {
  const messages = messagesPerS * secondsOfMonth
  const shards = Math.max(1, Math.ceil(messagesPerS / 1000), Math.ceil((messagesPerS * bytes) / million))
  return {
    queue: ((messages * (1 + 2 / batch)) / million) * prices.queueRequests.usd,
    kinesis:
      shards * (secondsOfMonth / 3600) * prices.shardHours.usd + (messages / million) * prices.records.usd,
    msk: 3 * (secondsOfMonth / 3600) * prices.brokerHours.usd,
  }
}

/** The lowest rate, messages/s, from which on a stream costs less than the queue. */
export function paysFrom(stream: 'kinesis' | 'msk', bytes: number): number {
  let [low, high] = [0, 100_000]
  while (high - low > 0.1) {
    const middle = (low + high) / 2
    const cost = queueAgainstStream(middle, bytes)
    if (cost[stream] < cost.queue) high = middle
    else low = middle
  }
  return high
}

interface Row {
  readonly devices: number
  readonly ratePerS: number
  readonly queue: QueueResult
}

const dollars = (usd: number) => (usd < 100 ? usd.toFixed(2) : Math.round(usd).toLocaleString('en-US'))
const count = (value: number) => value.toLocaleString('en-US', { maximumFractionDigits: value < 10 ? 2 : 0 })

const print = (rows: readonly (readonly string[])[]) => {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => (row[at] ?? '').length)))
  for (const row of rows)
    process.stdout.write(`${row.map((cell, at) => cell.padStart(widths[at] ?? 0)).join('   ')}\n`)
}

const costs = (): number => {
  const { values } = parseOptions({
    options: {
      interval: { type: 'string', default: '60' },
      bytes: { type: 'string', default: '400' },
      'call-ms': { type: 'string', default: '20' },
      'message-ms': { type: 'string', default: '0.2' },
      prices: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const intervalS = numberArgument('--interval', values.interval, { min: 0.1, max: 86_400 })
  const bytes = numberArgument('--bytes', values.bytes, { min: 1, max: 131_072, whole: true })
  const fixedMs = numberArgument('--call-ms', values['call-ms'], { min: 0, max: 10_000 })
  const messageMs = numberArgument('--message-ms', values['message-ms'], { min: 0.001, max: 1000 })
  const serviceMs = (messages: number) => fixedMs + messageMs * messages
  // The database writes one transaction at a time, so that all containers together are one server of the queue.
  const capacity = (batch / serviceMs(batch)) * 1000
  const rows = [1, 1000, 100_000, million].map((devices): Row => {
    const ratePerS = devices / intervalS
    const model = { messages: 50_000, batch, windowMs, concurrency: 1, serviceMs, random: seededRandom(1) }
    return { devices, ratePerS, queue: simulateQueue({ ...model, ratePerS }) }
  })
  process.stdout.write(
    `A message of ${bytes} bytes from each device every ${intervalS} s; eu-central-1, US dollars a month, without the database.\nPrices noted on ${pricesOf}; those that --prices marks could not be read at their source.\n\n`,
  )
  const table = rows.map(({ devices, ratePerS, queue }) => {
    const { messagesPerCall } = queue
    const cost = costsOf({ devices, intervalS, bytes, messagesPerCall, callMs: serviceMs(messagesPerCall) })
    const total = Object.values(cost).reduce((sum, one) => sum + one, 0)
    const over = ratePerS > capacity
    return [
      count(devices),
      count(ratePerS),
      ...Object.values(cost).map(dollars),
      dollars(total),
      over ? 'beyond one' : `${(queue.utilisation * 100).toFixed(0)} %`,
      over ? 'grows' : `${(queue.p99Ms / 1000).toFixed(1)} s`,
    ]
  })
  const head = ['devices', 'messages/s', 'connection', 'messages', 'rule', 'queue', 'functions', 'total']
  print([[...head, 'database used', 'p99 to stored'], ...table])
  process.stdout.write(
    `\nOne libSQL server stores ${count(capacity)} messages/s: ${count(Math.floor(capacity * intervalS))} devices.\n` +
      `Kinesis instead of SQS costs less from ${paysFrom('kinesis', bytes).toFixed(0)} messages/s on, MSK from ${paysFrom('msk', bytes).toFixed(0)}.\n`,
  )
  if (values.prices)
    for (const [name, { usd, per, source, verified }] of Object.entries(prices))
      process.stdout.write(
        `${name}: ${usd} per ${per}; ${source}${verified ? '' : ' (not verified for eu-central-1)'}\n`,
      )
  return 0
}

export const main = () => runCommand(costs)
