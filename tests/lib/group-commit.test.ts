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

it('rests between two writes, and writes what comes meanwhile together', async () => {
  const groups: number[][] = []
  const group = new GroupCommit<number, number>({
    write: async (values) => {
      groups.push([...values])
      return values
    },
    maxGroup: 10,
    maxWaiting: 10,
    restMs: 100,
  })
  await group.add(1)
  const second = group.add(2)
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(await Promise.all([second, group.add(3)])).toEqual([2, 3])
  expect(groups).toEqual([[1], [2, 3]])
})
