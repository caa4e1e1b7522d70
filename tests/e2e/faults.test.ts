/** A small run of the faults; `npm run test:faults` does more of each. */
import { afterAll, describe, expect, it } from 'vitest'
import { scenarios, sizes } from '../faults/scenarios.ts'
import { tableOf, type Verdict } from '../faults/verdict.ts'
import { mayNotMiss } from '../support/backends.ts'

const verdicts: Verdict[] = []
afterAll(() => {
  process.stdout.write(`\n${tableOf(verdicts)}`)
})

describe('what is acknowledged is there, once and exactly, after', () => {
  it.each([...scenarios])(
    '%s',
    async (name, scenario) => {
      const said: string[] = []
      const came = await scenario(sizes.small, (text) => said.push(text))
      process.stdout.write(said.map((text) => `${name}: ${text}\n`).join(''))
      verdicts.push(...came)
      if (mayNotMiss('mount')) expect(came).not.toEqual([])
      for (const { scenario: what, acknowledged, duplicates, lost, invented, imbalance } of came) {
        expect({ what, duplicates, lost, invented, imbalance }).toEqual({
          what,
          duplicates: 0,
          lost: 0,
          invented: 0,
          imbalance: 0,
        })
        expect(acknowledged, what).toBeGreaterThan(100)
      }
    },
    180_000,
  )
})
