import fc from 'fast-check'
import { LRUCache } from 'lru-cache'
import { expect, it } from 'vitest'
import { LRUCache as SmallCache } from '../../../lib/lambda/lru-cache.ts'

interface Value {
  readonly size: number
}

type Asked = 'has' | 'peek' | 'get' | 'delete'
type Cache = Pick<SmallCache<number, Value>, Asked | 'clear'> & { set(key: number, value: Value): unknown }

const steps = fc.array(
  fc.record({
    name: fc.constantFrom('has', 'peek', 'get', 'set', 'set', 'set', 'delete', 'clear'),
    key: fc.integer({ min: 0, max: 7 }),
    size: fc.integer({ min: 1, max: 12 }),
  }),
  { maxLength: 60 },
)

it.each([{}, { maxSize: 10, sizeCalculation: ({ size }: Value) => size }])(
  'keeps and forgets what the library keeps and forgets: %o',
  (limits) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), steps, (max, given) => {
        const run = (open: (dispose: (...what: unknown[]) => void) => Cache) => {
          const seen: unknown[] = []
          const cache = open((value, key, reason) => void seen.push(key, reason, value))
          for (const { name, key, size } of given) {
            if (name === 'set') cache.set(key, { size })
            else if (name === 'clear') cache.clear()
            else seen.push(cache[name as Asked](key))
          }
          seen.push([0, 1, 2, 3, 4, 5, 6, 7].map((key) => cache.peek(key)))
          return seen
        }
        const found = run((dispose) => new SmallCache<number, Value>({ max, ...limits, dispose }))
        expect(found).toEqual(run((dispose) => new LRUCache<number, Value>({ max, ...limits, dispose })))
      }),
    )
  },
)
