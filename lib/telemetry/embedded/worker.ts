/**
 * The thread of one connection to the file of the embedded store. libSQL runs on the calling thread: on the main thread a slow
 * query or a flush to the disk would stop every request. One thread writes, others read.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { maxBatchCharacters } from '../delivery.ts'
import { alertRequests } from './alert-requests.ts'
import { codeOf } from './connection.ts'
import { deletionRequests } from './deletion-table.ts'
import { openFile } from './file.ts'
import type { Lines, Written } from './message.ts'
import { readingRequests } from './reading-requests.ts'
import {
  type AppendRequest,
  answer,
  commonRequests,
  type StoreRequest,
  type WriteRequest,
} from './requests.ts'
import { prepareTables } from './schema.ts'
import { DatabaseSession } from './session.ts'
import { writeMessages } from './write-messages.ts'

/** The answer to the request of this id; id 0 reports that the file is open. */
export type Answer = { id: number; value: unknown } | { id: number; code: string }

type WithId<Request> = Request & { readonly id: number }

const { file, readOnly } = workerData as { file: string; readOnly: boolean }
const port = parentPort
if (port === null) throw new Error('worker.ts runs as a worker thread only')

const connection = openFile(file, readOnly)
const session = new DatabaseSession(connection)
const known = [commonRequests, readingRequests, alertRequests, deletionRequests]
const send = (answered: Answer) => port.postMessage(answered)

const isAppend = (request: StoreRequest): request is AppendRequest => 'append' in request
const isWrite = (request: WithId<StoreRequest> | undefined): request is WithId<WriteRequest> =>
  request !== undefined && (isAppend(request) || ('change' in request && request.change === 'write'))

const targetOf = (request: WriteRequest) => (isAppend(request) ? 'readings' : request.args.target)
const linesOf = (request: WriteRequest) => (isAppend(request) ? request.append : request.args.lines)

const write = (request: WriteRequest, lines: Lines): Written | Promise<Written> => {
  if (!isAppend(request)) return writeMessages(session, request.args.target, lines)
  if (session.journal === undefined) throw new Error('only a file has a journal')
  return session.journal.append(lines)
}

/** Writes the messages of several requests of one kind in one transaction, and answers each request. */
const writeTogether = async (requests: readonly WithId<WriteRequest>[], first: WriteRequest) => {
  const all = requests.map(linesOf)
  const written = await write(first, {
    count: all.reduce((sum, { count }) => sum + count, 0),
    text: all.map(({ text }) => text).join('\n'),
  })
  let from = 0
  for (const [n, { id }] of requests.entries()) {
    const to = from + (all[n]?.count ?? 0)
    const failed = written.failed.filter((at) => at >= from && at < to).map((at) => at - from)
    send({ id, value: { ...written, failed } satisfies Written })
    from = to
  }
}

/**
 * Takes the next requests that make one transaction out of the queue. Of the writes to one target, it takes those first that
 * only need the journal.
 */
const takeWrites = (queue: WithId<StoreRequest>[], first: WithId<WriteRequest>): WithId<WriteRequest>[] => {
  const end = queue.findIndex((other) => !isWrite(other) || targetOf(other) !== targetOf(first))
  const writes = queue.splice(0, end < 0 ? queue.length : end).filter(isWrite)
  const takesAppends = writes.some(isAppend)
  const taken: WithId<WriteRequest>[] = []
  const left: WithId<WriteRequest>[] = []
  let characters = 0
  for (const request of writes) {
    const isOfKind = isAppend(request) === takesAppends
    if (isOfKind) characters += linesOf(request).text.length
    if (isOfKind && (taken.length === 0 || characters <= maxBatchCharacters)) taken.push(request)
    else left.push(request)
  }
  queue.unshift(...left)
  return taken
}

const answerNext = async (queue: WithId<StoreRequest>[]) => {
  const [first] = queue
  const writes = isWrite(first) ? takeWrites(queue, first) : []
  const taken = isWrite(first) ? writes : queue.splice(0, 1)
  try {
    const [firstWrite] = writes
    if (firstWrite !== undefined) await writeTogether(writes, firstWrite)
    else if (first !== undefined && !isAppend(first)) {
      send({ id: first.id, value: await answer(session, first, known) })
      if ('change' in first && first.change === 'close') port.close()
    }
  } catch (error) {
    for (const { id } of taken) send({ id, code: codeOf(error) })
  }
}

// Requests are answered one after the other: the order of writes is the order of the requests.
let before: Promise<unknown> = (readOnly ? Promise.resolve() : prepareTables(connection)).then(
  () => send({ id: 0, value: undefined }),
  (error: unknown) => send({ id: 0, code: codeOf(error) }),
)
port.on('message', (first: WithId<StoreRequest>) => {
  const queue = [first]
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
    queue.push(next.message as WithId<StoreRequest>)
  before = before.then(async () => {
    while (queue.length > 0) await answerNext(queue)
  })
})
