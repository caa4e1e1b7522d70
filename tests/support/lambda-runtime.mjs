// One container: loads a bundle as the Lambda runtime does, then answers one event after the other.
import { parentPort, workerData } from 'node:worker_threads'

const { handler } = await import(workerData.bundle)
parentPort.postMessage({ ready: true })
parentPort.on('message', async ({ id, event, context }) => {
  const withTime = { ...context, getRemainingTimeInMillis: () => 10_000 }
  try {
    parentPort.postMessage({ id, answer: (await handler(event, withTime)) ?? null })
  } catch (error) {
    parentPort.postMessage({ id, failure: { errorType: error?.name, errorMessage: error?.message } })
  }
})
