import { expect, it } from 'vitest'
import { Services } from '../../lib/services.ts'

it('builds a service once, and again after a failure', async () => {
  const services = new Services()
  let builds = 0
  const build = async () => {
    builds += 1
    if (builds === 1) throw new Error('not yet')
    return builds
  }
  expect(services.isEmpty).toBe(true)
  await expect(services.once('a', build)).rejects.toThrow('not yet')
  expect(await services.once('a', build)).toBe(2)
  expect(await services.once('a', build)).toBe(2)
  expect(services.once('b', () => undefined)).toBeUndefined()
  expect(services.isEmpty).toBe(false)
})

it('closes all services, the last one first, and throws the first error then', async () => {
  const services = new Services()
  const closed: string[] = []
  for (const name of ['a', 'b', 'c'])
    services.once(name, () =>
      services.closers.push(async () => {
        closed.push(name)
        if (name !== 'a') throw new Error(name)
      }),
    )
  await expect(services.close()).rejects.toThrow('c')
  expect(closed).toEqual(['c', 'b', 'a'])
  expect(services.isEmpty).toBe(true)
  await services.close()
  expect(closed).toHaveLength(3)
})
