import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished, vi } from 'vitest'
import { Api } from '../../cli/api.ts'
import { deletionFinished } from '../../cli/deletion.ts'

/** A server that answers each look with the next of these, and a terminal. @returns what the terminal shows. */
const look = async (...answers: readonly { status: number; body: object }[]) => {
  const waiting = [...answers]
  const http = createServer((_request, response) => {
    const { status, body } = waiting.shift() ?? { status: 404, body: {} }
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body))
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const shown: string[] = []
  const write = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    shown.push(String(text))
    return true
  })
  const { isTTY } = process.stderr
  process.stderr.isTTY = true
  onTestFinished(() => {
    process.stderr.isTTY = isTTY
    write.mockRestore()
    http.close()
  })
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
  const ended = deletionFinished(new Api({ url, headers: {} }), { deletion_id: 7 })
  return { ended, shown }
}

const running = { status: 200, body: { deletion: { state: 'running', deleted: 5, progress: 0.5 } } }

it('waits for a large deletion, and leaves no progress behind', async () => {
  const finished = { state: 'finished', deleted: 10, progress: 1 }
  const { ended, shown } = await look(running, { status: 200, body: { deletion: finished } })
  expect(await ended).toEqual(finished)
  expect(shown).toEqual([
    expect.stringContaining('as number 7'),
    expect.stringContaining('5 readings deleted'),
    '\r\u001b[K',
  ])
})

it('says before a failure that the deletion goes on, and removes the progress', async () => {
  const { ended, shown } = await look(running, { status: 503, body: { error: { message: 'Not now.' } } })
  await expect(ended).rejects.toThrow('Not now.')
  expect(shown[0]).toContain('goes on with it as number 7')
  expect(shown.at(-1)).toBe('\r\u001b[K')
})

it('waits for nothing where everything is deleted at once', async () => {
  expect(await deletionFinished(new Api({ url: 'http://127.0.0.1:9', headers: {} }), {})).toBeUndefined()
})
