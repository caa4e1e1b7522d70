/** Waits for a large deletion, which goes on after the answer of the server. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Answer, Api } from './api.ts'
import { Progress } from './progress.ts'

/** Time between two looks, ms. */
const lookEveryMs = 1000

/**
 * @param answer of the request that deletes.
 * @returns when nothing goes on; the answer of the last look where something did.
 * @throws {CommandError} when a look fails: the deletion goes on all the same.
 */
export async function deletionFinished(server: Api, answer: Answer): Promise<Answer | undefined> {
  const id: number | undefined = answer.deletion_id
  if (id === undefined) return undefined
  // Whoever ends the wait knows that the deletion does not end with it.
  process.stderr.write(`This is a large deletion: the server goes on with it as number ${id}.\n`)
  const progress = new Progress('readings deleted')
  try {
    for (;;) {
      const { deletion } = await server.get(`/api/v1/admin/deletions/${id}`)
      if (deletion.state === 'finished') return deletion
      progress.show(deletion.deleted, deletion.progress)
      await sleep(lookEveryMs)
    }
  } finally {
    progress.clear()
  }
}
