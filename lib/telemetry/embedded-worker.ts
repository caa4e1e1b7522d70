/**
 * One connection to the file of the embedded store, in a thread of its own: libSQL runs on the calling thread, so that a
 * slow query or a flush to disk here would stop every request there. One thread writes, others read.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { openFile } from './embedded-file.ts'
import { type Ask, answerOn, codeOf, prepareTables, readOnly } from './embedded-sql.ts'

/** Each thing asked is answered with its own `id`; 0 tells that the file is open. */
export type Answer = { id: number; value: unknown } | { id: number; code: string }

const given = workerData as { file: string; readOnly: boolean }
const port = parentPort
if (port === null) throw new Error('embedded-worker.ts runs as a worker thread only')

const connection = openFile(given.file)
const answer = answerOn(connection)

// One after the other: the order of writes is the order in which they were asked.
let before: Promise<unknown> = (given.readOnly ? readOnly(connection) : prepareTables(connection)).then(
  () => port.postMessage({ id: 0, value: undefined } satisfies Answer),
  (error: unknown) => port.postMessage({ id: 0, code: codeOf(error) } satisfies Answer),
)
port.on('message', ({ id, ...ask }: Ask & { id: number }) => {
  before = before
    .then(() => answer(ask as Ask))
    .then(
      (value) => port.postMessage({ id, value } satisfies Answer),
      (error: unknown) => port.postMessage({ id, code: codeOf(error) } satisfies Answer),
    )
    .then(() => {
      if (ask.op === 'close') port.close()
    })
})
