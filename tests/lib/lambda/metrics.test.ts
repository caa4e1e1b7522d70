import { afterEach, expect, it, vi } from 'vitest'
import { eventHandler } from '../../../lib/lambda/handler.ts'
import { countInCloudWatch } from '../../../lib/lambda/metrics.ts'
import { createLog } from '../../../lib/log.ts'

afterEach(() => void vi.restoreAllMocks())

/** Everything that is written to the standard output, of which Lambda makes the log. */
const watchOutput = () => {
  const lines: string[] = []
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    lines.push(...String(text).split('\n').filter(Boolean))
    return true
  })
  return lines
}

const silent = () => createLog('error', () => undefined)

it('writes what was counted as one line before each answer, and nothing where nothing was counted', async () => {
  const count = countInCloudWatch('dev')
  const handle = eventHandler(
    async () => async (readings: number) => {
      count('ReadingsStored', readings)
      if (readings > 0) count('DeadLetters')
      if (readings > 0) count('ReadingsStored', 2)
    },
    silent,
  )
  const lines = watchOutput()
  await handle(5)
  await handle(0)
  await handle(1)
  vi.restoreAllMocks()

  expect(lines).toHaveLength(2)
  const [first, second] = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  expect(first).toMatchObject({ service: 'iotflow', stage: 'dev', ReadingsStored: 7, DeadLetters: 1 })
  expect(second).toMatchObject({ ReadingsStored: 3, DeadLetters: 1 })
  const { _aws, ...fields } = first ?? {}
  expect(_aws).toEqual({
    Timestamp: expect.any(Number),
    CloudWatchMetrics: [
      {
        Namespace: 'IoTFlow',
        Dimensions: [['service', 'stage']],
        Metrics: [
          { Name: 'ReadingsStored', Unit: 'Count' },
          { Name: 'DeadLetters', Unit: 'Count' },
        ],
      },
    ],
  })
  // Nothing else: no function, no device, no request.
  expect(Object.keys(fields).sort()).toEqual(['DeadLetters', 'ReadingsStored', 'service', 'stage'])
})

it('writes what a call counted that fails', async () => {
  const count = countInCloudWatch('dev')
  const handle = eventHandler(
    async () => async () => {
      count('MessagesFailed')
      throw new Error('of the test')
    },
    silent,
  )
  const lines = watchOutput()
  await expect(handle(undefined)).rejects.toThrow('of the test')
  vi.restoreAllMocks()
  expect(lines.map((line) => JSON.parse(line).MessagesFailed)).toEqual([1])
})
