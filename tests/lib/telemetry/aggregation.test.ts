import { expect, test } from 'vitest'
import { Aggregator, maxAggregates } from '../../../lib/telemetry/aggregation.ts'

const query = { field: undefined, aggregation: 'count', bounds: { every: 1 } } as const
const tooMany = 'That is too many values for one answer: ask for less.'

test('an aggregation is full when its answer has one value too many, not before', () => {
  const aggregator = new Aggregator(query)
  for (let at = 0; at < maxAggregates; at += 1) aggregator.add(at, 't', 1)
  expect(aggregator.isFull).toBe(false)
  expect(aggregator.result()).toHaveLength(maxAggregates)
  aggregator.add(0, 'u', 1)
  expect(aggregator.isFull).toBe(true)
  expect(() => aggregator.result()).toThrow(tooMany)
})

test('values of fields without numbers count when the field turns out to have one', () => {
  const [aggregator, whole] = [new Aggregator(query), new Aggregator(query)]
  for (let at = 0; at <= maxAggregates; at += 1) aggregator.add(at, 't', 'on')
  expect(aggregator.isFull).toBe(false)
  expect(aggregator.result()).toEqual([])
  whole.take(aggregator.parts())
  aggregator.add(0, 't', 1)
  expect(aggregator.isFull).toBe(true)
  whole.take(aggregator.parts())
  expect(() => whole.result()).toThrow(tooMany)
})
