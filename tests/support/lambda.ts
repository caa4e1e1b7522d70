/** Runs the cloud bundles on this machine: one worker thread for each Lambda function, and an HTTP server that acts as API Gateway. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Worker } from 'node:worker_threads'
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda'
import type { FunctionTable } from '../../local/function-table.ts'

export const account = '123456789012'
export const region = 'eu-central-1'

export interface Lambda {
  /** Calls a function and waits for its answer. @throws {Error} when the function threw, with the name of its error. */
  invoke(functionName: string, event: unknown): Promise<unknown>
  close(): Promise<void>
}

interface Container {
  call(event: unknown): Promise<unknown>
  end(): Promise<unknown>
}

const startContainer = async (
  functionName: string,
  bundle: URL,
  environment: Record<string, string>,
): Promise<Container> => {
  const worker = new Worker(new URL('./lambda-runtime.mjs', import.meta.url), {
    workerData: { bundle: bundle.href },
    env: { ...environment, AWS_LAMBDA_FUNCTION_NAME: functionName },
    execArgv: [],
  })
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  let calls = 0
  const ready = new Promise<void>((resolve, reject) => {
    worker.once('error', reject)
    worker.on('message', ({ ready: isReady, id, answer, failure }) => {
      if (isReady) return resolve()
      const call = waiting.get(id)
      waiting.delete(id)
      if (failure) call?.reject(Object.assign(new Error(failure.errorMessage), { name: failure.errorType }))
      else call?.resolve(answer)
    })
  })
  await ready
  return {
    call: (event) =>
      new Promise((resolve, reject) => {
        calls += 1
        waiting.set(calls, { resolve, reject })
        const invokedFunctionArn = `arn:aws:lambda:${region}:${account}:function:iotflow-test-${functionName}`
        worker.postMessage({
          id: calls,
          event,
          context: { functionName, invokedFunctionArn, awsRequestId: `r${calls}` },
        })
      }),
    end: () => worker.terminate(),
  }
}

/** @param dist folder of the bundles. Each function has one container, which handles any number of events at once. */
export function startLambda(dist: URL, environment: Record<string, string>): Lambda {
  const containers = new Map<string, Promise<Container>>()
  return {
    async invoke(functionName, event) {
      let container = containers.get(functionName)
      if (container === undefined) {
        container = startContainer(functionName, new URL(`${functionName}.mjs`, dist), environment)
        containers.set(functionName, container)
      }
      return (await container).call(JSON.parse(JSON.stringify(event)))
    },
    async close() {
      for (const container of containers.values()) await (await container).end()
    },
  }
}

/** True for bodies that API Gateway passes on as text, with bytes that are not UTF-8 replaced; it encodes all others in Base64. */
const isText = (headers: Record<string, string>) =>
  headers['content-encoding'] === undefined &&
  /^(?:text\/|application\/(?:json|javascript|xml)\b)/i.test(headers['content-type'] ?? '')

const bodyOf = async (request: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const headersOf = (request: IncomingMessage): Record<string, string> =>
  Object.fromEntries(
    Object.entries(request.headersDistinct).map(([name, values]) => [name, (values ?? []).join(',')]),
  )

interface Match {
  readonly functionName: string
  readonly routeKey: string
  readonly pathParameters?: Record<string, string>
}

type Routes = Pick<FunctionTable, 'routes' | 'fallback'>

const matcher = ({ routes, fallback }: Routes) => {
  const known = [...routes]
    .sort((a, b) => a.path.split(':').length - b.path.split(':').length)
    .map((route) => ({
      ...route,
      pattern: new RegExp(`^${route.path.replaceAll(/:(\w+)/g, '(?<$1>[^/]+)')}$`),
    }))
  return (method: string, path: string): Match => {
    for (const { functionName, method: own, path: template, pattern } of known) {
      const match = own === method ? pattern.exec(path) : null
      if (match === null) continue
      const routeKey = `${own} ${template.replaceAll(/:(\w+)/g, '{$1}')}`
      return { functionName, routeKey, ...(match.groups ? { pathParameters: { ...match.groups } } : {}) }
    }
    return { functionName: fallback, routeKey: '$default' }
  }
}

/** An HTTP API as API Gateway has it, with payload format 2.0. */
export async function startGateway(
  functions: Routes,
  lambda: Pick<Lambda, 'invoke'>,
): Promise<{ url: string; close(): Promise<void> }> {
  const match = matcher(functions)
  const toEvent = async (request: IncomingMessage, { routeKey, pathParameters }: Match) => {
    const [rawPath = '/', rawQueryString = ''] = (request.url ?? '/').split('?')
    const body = await bodyOf(request)
    const headers = headersOf(request)
    const isBase64Encoded = body.length > 0 && !isText(headers)
    const now = new Date()
    const event: APIGatewayProxyEventV2 = {
      version: '2.0',
      routeKey,
      rawPath: decodeURI(rawPath),
      rawQueryString,
      headers,
      ...(rawQueryString === ''
        ? {}
        : { queryStringParameters: Object.fromEntries(new URLSearchParams(rawQueryString)) }),
      ...(pathParameters ? { pathParameters } : {}),
      ...(body.length > 0 ? { body: body.toString(isBase64Encoded ? 'base64' : 'utf8') } : {}),
      isBase64Encoded,
      requestContext: {
        accountId: account,
        apiId: 'api',
        domainName: headers.host ?? 'localhost',
        domainPrefix: 'api',
        http: {
          method: request.method ?? 'GET',
          path: rawPath,
          protocol: 'HTTP/1.1',
          sourceIp: '203.0.113.7',
          userAgent: headers['user-agent'] ?? '',
        },
        requestId: `g${now.getTime()}`,
        routeKey,
        stage: '$default',
        time: now.toISOString(),
        timeEpoch: now.getTime(),
      },
    }
    return event
  }
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    try {
      const found = match(request.method ?? 'GET', (request.url ?? '/').split('?')[0] ?? '/')
      const result = (await lambda.invoke(
        found.functionName,
        await toEvent(request, found),
      )) as APIGatewayProxyStructuredResultV2
      const body = Buffer.from(result.body ?? '', result.isBase64Encoded ? 'base64' : 'utf8')
      response.writeHead(result.statusCode ?? 200, {
        ...(result.headers as Record<string, string>),
        'content-length': String(body.length),
      })
      response.end(request.method === 'HEAD' ? undefined : body)
    } catch {
      // API Gateway answers so when a function fails.
      response
        .writeHead(500, { 'content-type': 'application/json' })
        .end('{"message":"Internal Server Error"}')
    }
  }
  const server = createServer((request, response) => void handle(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}
