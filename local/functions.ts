/** The functions of the system as `serverless.yml` names them: one route table for the cloud and for this machine. */
import { readFile } from 'node:fs/promises'
import { parse } from 'yaml'
import * as z from 'zod'
import type { HttpHandler } from '../lib/http/lambda.ts'

export interface HttpRoute {
  /** Upper case. */
  readonly method: string
  /** In Hono's form: `/api/v1/telemetry/:id`. */
  readonly path: string
  readonly functionName: string
}

/** What applications in a browser may send and read. */
export interface CorsRules {
  readonly allowedMethods: string[]
  readonly allowedHeaders: string[]
  readonly exposedResponseHeaders: string[]
  /** Seconds. */
  readonly maxAge: number
}

export interface FunctionTable {
  readonly routes: readonly HttpRoute[]
  /** Answers what no route has. */
  readonly fallback: string
  readonly cors: CorsRules
  /** Every function, as serverless.yml names it. */
  readonly names: readonly string[]
  /** The source of a function, from the root: `functions/devices/register.ts` for `devices-register`. */
  file(functionName: string): string
  /** The function as an HTTP handler. @throws {Error} when there is no such function. */
  http(functionName: string): Promise<HttpHandler>
  /** The function as an event handler. @throws {Error} when there is no such function. */
  event(functionName: string): Promise<(event: unknown) => Promise<unknown>>
}

const root = new URL('../', import.meta.url)

const HttpEvent = z.union([z.string(), z.object({ method: z.string(), path: z.string() })])
const Document = z.object({
  custom: z.object({
    cors: z.object({
      allowedMethods: z.array(z.string()),
      allowedHeaders: z.array(z.string()),
      exposedResponseHeaders: z.array(z.string()),
      maxAge: z.number(),
    }),
  }),
  functions: z.record(
    z.string(),
    z.object({
      handler: z.string(),
      events: z.array(z.object({ httpApi: HttpEvent.optional() })).default([]),
    }),
  ),
})

const toRoute = (event: z.output<typeof HttpEvent>, functionName: string): HttpRoute => {
  const [method = '', path = ''] = typeof event === 'string' ? event.split(' ') : [event.method, event.path]
  return { method: method.toUpperCase(), path: path.replaceAll(/\{(\w+)\}/g, ':$1'), functionName }
}

/** Reads the table; the functions themselves are loaded when they are asked for. */
export async function loadFunctions(): Promise<FunctionTable> {
  const document = await readFile(new URL('serverless.yml', root), 'utf8')
  const { functions, custom } = Document.parse(parse(document))
  const routes: HttpRoute[] = []
  let fallback = ''
  for (const [name, { events }] of Object.entries(functions)) {
    for (const { httpApi } of events) {
      if (httpApi === '*') fallback = name
      else if (httpApi !== undefined) routes.push(toRoute(httpApi, name))
    }
  }
  const file = (name: string): string => {
    if (functions[name] === undefined) throw new Error(`serverless.yml has no function ${name}`)
    return `functions/${name.replace('-', '/')}.ts`
  }
  const load = async (name: string): Promise<unknown> =>
    ((await import(new URL(file(name), root).href)) as { handler: unknown }).handler
  return {
    routes,
    fallback,
    cors: custom.cors,
    names: Object.keys(functions),
    file,
    http: async (name) => (await load(name)) as HttpHandler,
    event: async (name) => (await load(name)) as (event: unknown) => Promise<unknown>,
  }
}
