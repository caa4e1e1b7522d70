// Loads bundles as Lambda does, calls each with an event, and prints whatever Lambda could print of the error that leaves.
import { inspect } from 'node:util'

const { bundles, events } = JSON.parse(process.argv[2])
for (const [name, event] of Object.entries(events)) {
  const { handler } = await import(new URL(`${name}.mjs`, bundles).href)
  const context = {
    functionName: `iotflow-test-${name}`,
    invokedFunctionArn: `arn:aws:lambda:eu-central-1:123456789012:function:iotflow-test-${name}`,
    awsRequestId: `request-of-${name}`,
    getRemainingTimeInMillis: () => 10_000,
  }
  try {
    const answer = await handler(event, context)
    process.stdout.write(`${JSON.stringify({ name, answer: answer ?? null })}\n`)
  } catch (error) {
    const printed = `${inspect(error, { depth: null, showHidden: true })} ${JSON.stringify({ ...error })}`
    process.stdout.write(
      `${JSON.stringify({ name, errorType: error?.name, message: error?.message, printed })}\n`,
    )
  }
  // Lines of the log are written at the end of a turn.
  await new Promise((resolve) => setImmediate(resolve))
}
process.exit(0)
