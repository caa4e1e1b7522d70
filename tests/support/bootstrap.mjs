// The program of a container, as small as one can be: it loads the handler and asks the Runtime API of Lambda for one event after the
// other. AWS's own (aws-lambda-ric) compiles curl and a C++ client when it is installed.
import { get } from 'node:http'
import { pathToFileURL } from 'node:url'

const { AWS_LAMBDA_RUNTIME_API, LAMBDA_TASK_ROOT, _HANDLER } = process.env
const api = `http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime`

const post = (path, body) =>
  fetch(`${api}/${path}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body })

/** The next event. Without a time-out: a container may stand still for hours. */
const nextInvocation = () =>
  new Promise((resolve, reject) => {
    get(`${api}/invocation/next`, async (response) => {
      const chunks = []
      for await (const chunk of response) chunks.push(chunk)
      resolve({ headers: response.headers, event: JSON.parse(Buffer.concat(chunks).toString()) })
    }).once('error', reject)
  })

/** As the runtime of Node shows an error to the caller, and writes it to the log. */
const shown = (error) =>
  JSON.stringify({
    errorType: error?.name ?? typeof error,
    errorMessage: error?.message ?? String(error),
    trace: String(error?.stack ?? '').split('\n'),
  })

const load = async () => {
  const dot = _HANDLER.lastIndexOf('.')
  const module = await import(pathToFileURL(`${LAMBDA_TASK_ROOT}/${_HANDLER.slice(0, dot)}.mjs`).href)
  const handler = module[_HANDLER.slice(dot + 1)]
  if (typeof handler !== 'function') throw new Error(`${_HANDLER} is undefined or not exported`)
  return handler
}

let handler
try {
  handler = await load()
} catch (error) {
  console.error(`Init Error\t${shown(error)}`)
  await post('init/error', shown(error))
  process.exit(1)
}
for (;;) {
  const { headers, event } = await nextInvocation()
  const id = headers['lambda-runtime-aws-request-id']
  const deadline = Number(headers['lambda-runtime-deadline-ms'])
  const context = {
    awsRequestId: id,
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: '$LATEST',
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    callbackWaitsForEmptyEventLoop: true,
    getRemainingTimeInMillis: () => deadline - Date.now(),
  }
  try {
    const answer = await handler(event, context)
    await post(`invocation/${id}/response`, JSON.stringify(answer ?? null))
  } catch (error) {
    console.error(`${id}\tERROR\tInvoke Error\t${shown(error)}`)
    await post(`invocation/${id}/error`, shown(error))
  }
}
