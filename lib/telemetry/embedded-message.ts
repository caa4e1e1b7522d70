/** A message as the embedded store writes it: one line of text, which is cheap to hand to a thread and to keep. */

/** All of its numbers are whole, 0 or more. */
export interface Message {
  readonly deviceId: number
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
  /** Readings. */
  readonly count: number
  /** Readings that count as received and as rejected; both 0 for what is not to be counted. */
  readonly received: number
  readonly rejected: number
  /** Whether its rows have the keys of the readings. */
  readonly keyed: boolean
  /**
   * Its readings as JSON arrays, separated by commas: device, time in ns as a string, fields, metadata, arrival, type, location; of
   * a keyed message also the key, or null, and the token of the reading, unlike every other of all time.
   */
  readonly rows: string
}

/** JSON has no line breaks and no tabs of its own, so that neither is inside of a row. */
export const lineOf = ({ deviceId, receivedAt, count, received, rejected, keyed, rows }: Message): string =>
  `${deviceId} ${receivedAt} ${count} ${received} ${rejected} ${keyed ? 1 : 0}\t${rows}`

const [tab, space, zero] = [9, 32, 48]

export const deviceOf = (line: string): number => Number(line.slice(0, line.indexOf(' ')))

export const messageOf = (line: string): Message => {
  const head: [number, number, number, number, number, number] = [0, 0, 0, 0, 0, 0]
  let at = 0
  let end = 0
  // Digit by digit: to split it and to make numbers of the parts costs as much as to parse the readings.
  for (; end < line.length; end += 1) {
    const code = line.charCodeAt(end)
    if (code === tab) break
    if (code === space) at += 1
    else head[at] = (head[at] as number) * 10 + code - zero
  }
  const [deviceId, receivedAt, count, received, rejected, keyed] = head
  return { deviceId, receivedAt, count, received, rejected, keyed: keyed === 1, rows: line.slice(end + 1) }
}

/** The names of fields, in their order: what two readings with the same can be told by. */
export const shapeOf = (fields: object): string => Object.keys(fields).join('"')

/** A reading as a row of a message; `ts` in ns. */
export type MessageRow = [
  deviceId: number,
  ts: bigint,
  fields: object,
  metadata: object | null,
  receivedAt: number,
  deviceType: string,
  location: string | null,
]

export const rowsOf = ({ count, rows }: Message): MessageRow[] => {
  const parsed = count === 1 ? [JSON.parse(rows)] : JSON.parse(`[${rows}]`)
  for (const row of parsed) row[1] = BigInt(row[1])
  return parsed
}

/** The oldest and the newest time of readings, ns, and the names that all of them have, where it is so. */
export function spanOf(rows: readonly MessageRow[]): {
  oldest: bigint
  newest: bigint
  shape: string | undefined
} {
  let oldest: bigint | undefined
  let newest = 0n
  let shape: string | undefined
  for (const row of rows) {
    const time = row[1]
    const names = shapeOf(row[2])
    shape = oldest === undefined || shape === names ? names : undefined
    if (oldest === undefined || time < oldest) oldest = time
    if (time > newest) newest = time
  }
  return { oldest: oldest ?? 0n, newest, shape }
}
