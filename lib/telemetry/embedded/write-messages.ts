/** Writes messages together with their account and their keys: store, ledger and spool share one transaction. */
import type { AccountChange } from '../account.ts'
import { addToAccounts, countKeyed, encodeAccounts } from './accounting.ts'
import { judgeMessages } from './alert-states.ts'
import { codeOf, isStoreWideFailure, type Row, type Step } from './connection.ts'
import { decodeMessage } from './journal.ts'
import { findDuplicates, isNotDuplicate, noteKeys, noteRequests, ReusedIds, requestKey } from './keys.ts'
import { keepingLatest, learnNewest } from './latest.ts'
import { jsonRows, type Lines, type Message, type Written } from './message.ts'
import { insertAllAsJson, insertAllBound, insertJson } from './readings.ts'
import type { DatabaseSession } from './session.ts'
import { spoolKeyed, spoolPlain } from './spool-table.ts'

/** Where messages are written to. */
export type Target = 'readings' | 'spool'

/** What the keys of messages tell about their readings. */
type Findings = Required<Pick<Written, 'duplicates' | 'conflicts' | 'reused'>>

const noFindings: Findings = { duplicates: [], conflicts: [], reused: [] }
const nothingFailed: Written = { failed: [], code: '', duplicates: [] }

interface SummedChange extends AccountChange {
  received: number
  stored: number
  spooled: number
  rejected: number
  warned: number
  lastArrival: number
}

/** Adds up what the messages change in the accounts, one change for each device: a fold has the messages of a device together. */
function accountChangesOf(messages: readonly Message[], target: Target): AccountChange[] {
  const sums = new Map<number, SummedChange>()
  for (const { deviceId, receivedAt, rejected, warned, keyed, readings } of messages) {
    let sum = sums.get(deviceId)
    if (sum === undefined) {
      sum = { deviceId, received: 0, stored: 0, spooled: 0, rejected: 0, warned: 0, lastArrival: 0 }
      sums.set(deviceId, sum)
    }
    sum.received += readings.length + rejected
    sum.rejected += rejected
    sum.warned += warned
    if (receivedAt > sum.lastArrival) sum.lastArrival = receivedAt
    // Keyed readings are counted by the state of their keys.
    if (!keyed) sum[target === 'readings' ? 'stored' : 'spooled'] += readings.length
  }
  return [...sums.values()]
}

/** Readings without keys: most messages only make the newest reading of their device newer. */
const plainSteps = (
  session: DatabaseSession,
  messages: readonly Message[],
  changedElsewhere: boolean,
): Step[] => {
  const { unsure, after } = session.newest.predictNewest(messages)
  const insert = session.file ? insertAllBound(messages) : insertAllAsJson(messages)
  const steps: Step[] = keepingLatest(
    messages.filter(({ deviceId }) => unsure.has(deviceId)),
    insert,
  )
  const [last] = steps.splice(-1)
  const remember = () => {
    for (const [deviceId, newest] of after) session.newest.set(deviceId, newest)
    for (const deviceId of unsure) session.newest.forget(deviceId)
  }
  if (last !== undefined) steps.push({ ...last, committed: remember })
  // Where others write too, the newest readings would not stay known for long.
  if (unsure.size > 0 && !changedElsewhere) steps.push(learnNewest(unsure, session.newest))
  return steps
}

const keyedSteps = (
  session: DatabaseSession,
  target: Target,
  messages: readonly Message[],
  found: (findings: Findings) => void,
): Step[] => {
  const reusedIds = new ReusedIds()
  for (const { deviceId, readings } of messages)
    for (const { key, token = '' } of readings) reusedIds.add(deviceId, key, token)
  const requests = messages.flatMap(({ deviceId, receivedAt, request }) =>
    request === undefined
      ? []
      : [{ device: deviceId, request: requestKey(request.key), digest: request.digest, at: receivedAt }],
  )
  const rows = jsonRows(messages)
  const writes =
    target === 'spool'
      ? [spoolKeyed(rows)]
      : keepingLatest(messages, [insertJson(rows, isNotDuplicate('value'))], isNotDuplicate)
  return [
    ...(requests.length === 0 ? [] : [noteRequests(requests)]),
    ...(reusedIds.isEmpty
      ? []
      : [{ ...reusedIds.statement(), committed: (ids: readonly Row[]) => reusedIds.found(ids) }]),
    noteKeys(rows),
    ...writes,
    countKeyed(rows, target),
    {
      ...findDuplicates(rows),
      committed: (known) => {
        for (const { deviceId } of messages) session.newest.forget(deviceId)
        const tokens = (inConflict: boolean) =>
          known
            .filter(([, conflict]) => Boolean(Number(conflict)) === inConflict)
            .map(([token]) => String(token))
        const notNew = new Set(known.map(([token]) => token))
        const reused = [...reusedIds.reused].filter((token) => !notNew.has(token)).map(String)
        found({ duplicates: tokens(false), conflicts: tokens(true), reused })
      },
    },
  ]
}

/**
 * Plain messages are written before the keyed ones. One that comes after a keyed one of its device counts as keyed, too: of several
 * values for one time, the last one has to be written last.
 */
const keepingOrder = (messages: readonly Message[]): readonly Message[] => {
  if (!messages.some(({ keyed }) => keyed)) return messages
  const keyedDevices = new Set<number>()
  return messages.map((message) => {
    const { keyed, deviceId } = message
    if (keyed) keyedDevices.add(deviceId)
    return keyed || !keyedDevices.has(deviceId) ? message : { ...message, keyed: true }
  })
}

/** The steps of one transaction that writes the messages. @param found gets what their keys tell, after the commit. */
export function messageSteps(
  session: DatabaseSession,
  target: Target,
  arrived: readonly Message[],
  changedElsewhere: boolean,
  found: (findings: Findings) => void = () => undefined,
): Step[] {
  const messages = keepingOrder(arrived)
  const withReadings = messages.filter(({ readings }) => readings.length > 0)
  const plain = withReadings.filter(({ keyed }) => !keyed)
  const keyed = withReadings.filter(({ keyed }) => keyed)
  const counted = messages.filter(({ counted }) => counted)
  const steps: Step[] = []
  if (plain.length > 0)
    steps.push(...(target === 'spool' ? [spoolPlain(plain)] : plainSteps(session, plain, changedElsewhere)))
  if (keyed.length > 0) steps.push(...keyedSteps(session, target, keyed, found))
  steps.push(...judgeMessages(session, withReadings, changedElsewhere))
  if (counted.length > 0) steps.push(addToAccounts(encodeAccounts(accountChangesOf(counted, target))))
  return steps
}

const writeOnce = async (session: DatabaseSession, target: Target, messages: readonly Message[]) => {
  let findings = noFindings
  await session.write((changedElsewhere) =>
    messageSteps(session, target, messages, changedElsewhere, (found) => {
      findings = found
    }),
  )
  return findings
}

/** Writes each message in a transaction of its own, so that only those fail that the database refuses. */
const writeSingly = async (session: DatabaseSession, target: Target, messages: readonly Message[]) => {
  const failed: number[] = []
  const findings: Findings[] = []
  let code = ''
  for (const [at, message] of messages.entries()) {
    try {
      findings.push(await writeOnce(session, target, [message]))
    } catch (error) {
      failed.push(at)
      code = codeOf(error)
    }
  }
  return {
    failed,
    code,
    duplicates: findings.flatMap(({ duplicates }) => duplicates),
    conflicts: findings.flatMap(({ conflicts }) => conflicts),
    reused: findings.flatMap(({ reused }) => reused),
  }
}

/** Writes the messages in one transaction; where one message makes it fail, each in its own. */
export async function writeMessages(
  session: DatabaseSession,
  target: Target,
  { text }: Lines,
): Promise<Written> {
  const messages = text.split('\n').map(decodeMessage)
  try {
    // Fold the earlier journal entries of these devices first, to keep the order of writes.
    if (target === 'readings') session.journal?.foldAllOf(new Set(messages.map(({ deviceId }) => deviceId)))
    return { ...nothingFailed, ...(await writeOnce(session, target, messages)) }
  } catch (error) {
    const code = codeOf(error)
    if (messages.length > 1 && !isStoreWideFailure(code)) return writeSingly(session, target, messages)
    return { ...nothingFailed, failed: messages.map((_, at) => at), code }
  }
}
