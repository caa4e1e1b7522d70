import { expect, it } from 'vitest'
import { ConfigError } from '../../../lib/config.ts'
import { AppError } from '../../../lib/errors.ts'
import { reportFailure } from '../../../lib/lambda/guard.ts'
import { eventHandler } from '../../../lib/lambda/handler.ts'
import { createLog } from '../../../lib/log.ts'

const invocation = { functionName: 'authorize', awsRequestId: 'r-1', invokedFunctionArn: 'arn' }
const secret = 'the-hash-of-a-key'
const failedQuery = () =>
  Object.assign(
    new Error(`Failed query: select * from credentials\n    at params: ${secret}`, {
      cause: new Error(secret),
    }),
    { query: 'select', params: [secret] },
  )

const logged = () => {
  const lines: string[] = []
  const log = createLog('info', (text) => lines.push(text))
  return { lines, log: () => log }
}

it('an error of the database leaves as its code only, and is logged without its text', () => {
  const { lines, log } = logged()
  const left = reportFailure(failedQuery(), invocation, log)
  expect(left).toMatchObject({
    code: 'INTERNAL',
    message: 'The function failed: INTERNAL; the log says where.',
  })
  expect(left.cause).toBeUndefined()
  expect(Object.values(left).concat(left.stack, lines).join()).not.toMatch(new RegExp(`${secret}|select`))
  expect(JSON.parse(lines.join(''))).toMatchObject({
    level: 'error',
    function: 'authorize',
    aws_request_id: 'r-1',
    error: { name: 'Error', cause: { name: 'Error' } },
  })
})

it.each([
  [
    new AppError('UNAVAILABLE', 'The database is busy.', { cause: failedQuery() }),
    'UNAVAILABLE',
    'The database is busy.',
  ],
  [new ConfigError(['STAGE must be dev.']), 'INTERNAL', 'STAGE must be dev.'],
  [`a text with ${secret}`, 'INTERNAL', undefined],
])('what was written for readers is logged as the reason: %s', (thrown, code, reason) => {
  const { lines, log } = logged()
  expect(reportFailure(thrown, invocation, log)).toMatchObject({ code })
  const line = JSON.parse(lines.join(''))
  if (reason === undefined) expect(line).not.toHaveProperty('reason')
  else expect(line.reason).toContain(reason)
  expect(lines.join('')).not.toContain(secret)
})

it('a handler that Lambda calls guards its building and its work; one in this process passes errors on', async () => {
  const { lines, log } = logged()
  const unbuilt = eventHandler<object, void>(() => Promise.reject(failedQuery()), log)
  const failing = eventHandler<object, void>(async () => () => Promise.reject(failedQuery()), log)
  for (const handler of [unbuilt, failing]) {
    await expect(handler({}, invocation)).rejects.toMatchObject({ name: 'AppError', code: 'INTERNAL' })
    await expect(handler({})).rejects.toThrow('Failed query')
  }
  expect(lines).toHaveLength(2)
})
