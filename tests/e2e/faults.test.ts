/** A short run of every fault scenario; `npm run test:faults` runs them for longer. */
import { afterAll, describe, expect, it } from 'vitest'
import { scenarios, sizes } from '../faults/scenarios.ts'
import { faultsOf, isLeftOut, type Outcome, tableOf } from '../faults/verdict.ts'

const outcomes: Outcome[] = []
afterAll(() => {
  process.stdout.write(`\n${tableOf(outcomes)}`)
})

describe('every acknowledged reading is stored exactly once after the fault', () => {
  it.for([...scenarios])('%s', { timeout: 400_000 }, async ([name, scenario], { skip }) => {
    const said: string[] = []
    const came = await scenario(sizes.small, (text) => said.push(text)).finally(() => {
      process.stdout.write(said.map((text) => `${name}: ${text}\n`).join(''))
    })
    outcomes.push(...came)
    expect(came).not.toEqual([])
    for (const outcome of came) {
      expect(faultsOf(outcome), outcome.scenario).toEqual([])
      if (!isLeftOut(outcome)) expect(outcome.acknowledged, outcome.scenario).toBeGreaterThan(30)
    }
    const missing = came.filter(isLeftOut).map(({ needs }) => needs)
    skip(missing.length > 0, `LEFT OUT: there is no ${missing.join(', ')}`)
  })
})
