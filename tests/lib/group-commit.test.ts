import { expect, it } from 'vitest'
import { GroupCommit } from '../../lib/group-commit.ts'

it('writes a value that comes in the same turn in which the one before is written', async () => {
  const written: number[] = []
  const group = new GroupCommit<number, void>({
    write: async (values) => {
      written.push(...values)
      return []
    },
    maxGroup: 10,
    maxWaiting: 10,
  })
  await group.add(1).then(() => group.add(2))
  expect(written).toEqual([1, 2])
})
