/**
 * One connection to the file of the embedded store, in a thread of its own: libSQL runs on the calling thread, so that a
 * slow query or a flush to disk here would stop every request there. One thread writes, others read.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { answerOn, prepareTables } from './embedded-answers.ts'
import { openFile } from './embedded-file.ts'
import { type Ask, codeOf, type Lines, type Written } from './embedded-sql.ts'
import { maxGroupCharacters } from './write-queue.ts'

/** Each thing asked is answered with its own `id`; 0 tells that the file is open. */
export type Answer = { id: number; value: unknown } | { id: number; code: string }

const given = workerData as { file: string; readOnly: boolean }
const port = parentPort
if (port === null) throw new Error('embedded-worker.ts runs as a worker thread only')

const connection = openFile(given.file, given.readOnly)
const answer = answerOn(connection)

type Asked = Ask & { readonly id: number }
/** What is written, as lines. */
type Write = Extract<Asked, { messages: Lines }>

const tell = (answer: Answer) => port.postMessage(answer)

/** Writes what was asked in several groups as one, and answers each for itself. */
const writeTogether = async (asked: readonly Write[], first: Write) => {
  const { id: _, ...ask } = first
  const lines = {
    count: asked.reduce((sum, { messages }) => sum + messages.count, 0),
    text: asked.map(({ messages }) => messages.text).join('\n'),
  }
  const written = (await answer({ ...ask, messages: lines })) as Written
  let from = 0
  for (const { id, messages } of asked) {
    const to = from + messages.count
    const failed = written.failed.filter((at) => at >= from && at < to).map((at) => at - from)
    tell({ id, value: { ...written, failed } satisfies Written })
    from = to
  }
}

/** Where messages go to; undefined for what is no message. */
const placeOf = (asked: Asked | undefined) => {
  if (asked?.op === 'append') return 'readings'
  return asked?.op === 'write' ? asked.into : undefined
}

/** Takes what comes next, all that makes one transaction; of messages those first that only need the journal. */
const takeNext = (waiting: Asked[]): Asked[] => {
  const place = placeOf(waiting[0])
  if (place === undefined) return waiting.splice(0, 1)
  const after = waiting.findIndex((asked) => placeOf(asked) !== place)
  const all = waiting.splice(0, after < 0 ? waiting.length : after) as Write[]
  const op = all.some((asked) => asked.op === 'append') ? 'append' : 'write'
  const taken: Write[] = []
  const left: Write[] = []
  let characters = 0
  for (const asked of all) {
    if (asked.op === op) characters += asked.messages.text.length
    const fits = taken.length === 0 || characters <= maxGroupCharacters
    if (asked.op === op && fits) taken.push(asked)
    else left.push(asked)
  }
  waiting.unshift(...left)
  return taken
}

const answerAll = async (waiting: Asked[]) => {
  while (waiting.length > 0) {
    const now = takeNext(waiting)
    const [first] = now as [Asked]
    try {
      if ('messages' in first) await writeTogether(now as Write[], first)
      else {
        const { id, ...ask } = first
        tell({ id, value: await answer(ask as Ask) })
        if (ask.op === 'close') port.close()
      }
    } catch (error) {
      for (const { id } of now) tell({ id, code: codeOf(error) })
    }
  }
}

// One after the other: the order of writes is the order in which they were asked.
let before: Promise<unknown> = (given.readOnly ? Promise.resolve() : prepareTables(connection)).then(
  () => tell({ id: 0, value: undefined }),
  (error: unknown) => tell({ id: 0, code: codeOf(error) }),
)
port.on('message', (first: Asked) => {
  const waiting = [first]
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
    waiting.push(next.message as Asked)
  before = before.then(() => answerAll(waiting))
})
