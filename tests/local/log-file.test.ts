import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { LogFile, logFile, logFolder } from '../../local/log-file.ts'
import { temporaryFolder } from '../support/temporary.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  folder = await temporaryFolder()
})
afterEach(() => folder.remove())

it('begins a new file when one is full, and keeps the newest only', async () => {
  const log = new LogFile(folder.path, { maxBytes: 100, kept: 3 })
  for (let n = 0; n < 100; n++) log.write(`line ${n}, of about 20 B\n`)
  log.close()
  const names = (await readdir(logFolder(folder.path))).sort()
  expect(names).toEqual(['iotflow.log', 'iotflow.log.1', 'iotflow.log.2'])
  const text = await Promise.all(
    [...names].reverse().map((name) => readFile(join(logFolder(folder.path), name), 'utf8')),
  )
  const numbers = text
    .join('')
    .trim()
    .split('\n')
    .map((line) => Number(/^line (\d+)/.exec(line)?.[1]))
  expect(numbers.at(-1)).toBe(99)
  expect(numbers).toEqual(numbers.map((_, at) => (numbers[0] ?? 0) + at))
})

it('goes on in the file of the last run, which only its owner can read', async () => {
  for (const line of ['one\n', 'two\n']) {
    const log = new LogFile(folder.path)
    log.write(line)
    log.close()
  }
  expect(await readFile(logFile(folder.path), 'utf8')).toBe('one\ntwo\n')
  expect((await stat(logFile(folder.path))).mode & 0o777).toBe(0o600)
})
