/** The functions of the system as `serverless.yml` names them: one route table for the cloud and for this machine. */
import { readFile } from 'node:fs/promises'
import { parse } from 'yaml'
import * as z from 'zod'
import type { SystemRoute } from '../lib/http/router.ts'
import { root } from '../lib/root.ts'
import { rateMs, type Schedule } from './schedules.ts'

export interface HttpRoute extends SystemRoute {
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
  /** The function that answers requests to unknown routes. */
  readonly fallback: string
  readonly cors: CorsRules
  readonly schedules: readonly Schedule[]
  /** Every function, as serverless.yml names it. */
  readonly names: readonly string[]
  /**
   * The source of a function, from the root: `functions/devices/register.ts` for `devices-register`.
   * @throws {Error} when there is no such function.
   */
  file(functionName: string): string
}

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
      events: z
        .array(z.object({ httpApi: HttpEvent.optional(), schedule: z.string().optional() }))
        .default([]),
    }),
  ),
})

const toRoute = (event: z.output<typeof HttpEvent>, functionName: string): HttpRoute => {
  const [method = '', path = ''] = typeof event === 'string' ? event.split(' ') : [event.method, event.path]
  return { method: method.toUpperCase(), path: path.replaceAll(/\{(\w+)\}/g, ':$1'), functionName }
}

/** Reads serverless.yml. */
export async function loadFunctionTable(): Promise<FunctionTable> {
  const document = await readFile(new URL('serverless.yml', root), 'utf8')
  const { functions, custom } = Document.parse(parse(document))
  const routes: HttpRoute[] = []
  const schedules: Schedule[] = []
  let fallback = ''
  for (const [name, { events }] of Object.entries(functions)) {
    for (const { httpApi, schedule } of events) {
      if (schedule !== undefined) schedules.push({ functionName: name, everyMs: rateMs(schedule) })
      if (httpApi === '*') fallback = name
      else if (httpApi !== undefined) routes.push(toRoute(httpApi, name))
    }
  }
  return {
    routes,
    fallback,
    cors: custom.cors,
    schedules,
    names: Object.keys(functions),
    file(name) {
      if (functions[name] === undefined) throw new Error(`serverless.yml has no function ${name}`)
      return `functions/${name.replace('-', '/')}.ts`
    },
  }
}
