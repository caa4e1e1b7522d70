/** A short run of `npm run test:commands`: a command to a fleet, with kills of the server. */
import { expect, it } from 'vitest'
import { runCommandShow } from '../commands/show.ts'
import { formatVerdict } from '../commands/verdict.ts'

it('one command to 60 devices has the right states, also when the server is killed twice', {
  timeout: 400_000,
}, async () => {
  const said: string[] = []
  const verdict = await runCommandShow({
    devices: 60,
    kills: 2,
    patienceS: 120,
    progress: (text) => said.push(text),
  })
  process.stdout.write(`\n${said.join('\n')}\n${formatVerdict(verdict)}`)
  expect(verdict.rows.reduce((sum, { devices }) => sum + devices, 0)).toBe(60)
  expect(verdict.faults).toEqual([])
})
