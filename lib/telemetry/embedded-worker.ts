/**
 * One connection to the file of the embedded store, in a thread of its own: libSQL runs on the calling thread, so that a
 * slow query or a flush to disk here would stop every request there. One thread writes, others read.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { openFile } from './embedded-file.ts'
import { type Ask, answerOn, codeOf, prepareTables, readOnly, type Written } from './embedded-sql.ts'
import { maxGroupCharacters } from './write-queue.ts'

/** Each thing asked is answered with its own `id`; 0 tells that the file is open. */
export type Answer = { id: number; value: unknown } | { id: number; code: string }

const given = workerData as { file: string; readOnly: boolean }
const port = parentPort
if (port === null) throw new Error('embedded-worker.ts runs as a worker thread only')

const connection = openFile(given.file)
const answer = answerOn(connection)

type Asked = Ask & { readonly id: number }
type Write = Extract<Asked, { op: 'write' }>

const tell = (answer: Answer) => port.postMessage(answer)

/** Writes what was asked in several groups as one, and answers each for itself. */
const writeTogether = async (asked: readonly Write[], into: Write['into']) => {
  const messages = asked.flatMap((group) => group.messages)
  const written = (await answer({ op: 'write', into, messages })) as Written
  let from = 0
  for (const { id, messages } of asked) {
    const to = from + messages.length
    const failed = written.failed.filter((at) => at >= from && at < to).map((at) => at - from)
    tell({ id, value: { ...written, failed } satisfies Written })
    from = to
  }
}

const charactersOf = ({ messages }: Write) => messages.reduce((sum, { rows }) => sum + rows.length, 0)

/** Of what waits, the writes that come first and make one transaction; none when something else comes first. */
const firstWrites = (waiting: readonly Asked[]): Write[] => {
  const writes: Write[] = []
  let characters = 0
  for (const asked of waiting) {
    if (asked.op !== 'write' || asked.into !== (writes[0] ?? asked).into) break
    characters += charactersOf(asked)
    if (writes.length > 0 && characters > maxGroupCharacters) break
    writes.push(asked)
  }
  return writes
}

const answerAll = async (waiting: Asked[]) => {
  while (waiting.length > 0) {
    const writes = firstWrites(waiting)
    const now = waiting.splice(0, Math.max(1, writes.length))
    try {
      const [first] = writes
      if (first) await writeTogether(writes, first.into)
      else {
        const [{ id, ...ask }] = now as [Asked]
        tell({ id, value: await answer(ask as Ask) })
        if (ask.op === 'close') port.close()
      }
    } catch (error) {
      for (const { id } of now) tell({ id, code: codeOf(error) })
    }
  }
}

// One after the other: the order of writes is the order in which they were asked.
let before: Promise<unknown> = (given.readOnly ? readOnly(connection) : prepareTables(connection)).then(
  () => tell({ id: 0, value: undefined }),
  (error: unknown) => tell({ id: 0, code: codeOf(error) }),
)
port.on('message', (first: Asked) => {
  const waiting = [first]
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
    waiting.push(next.message as Asked)
  before = before.then(() => answerAll(waiting))
})
