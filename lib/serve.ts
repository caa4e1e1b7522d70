/** Handlers of functions, wired to the services of the runtime on their first call. */
import type { Hono } from 'hono'
import type { Device } from './devices/device.ts'
import type { AccessControl } from './http/access-control.ts'
import type { HttpEnv } from './http/context.ts'
import { type EventContext, eventHandler, type HttpHandler, httpHandler } from './lambda/handler.ts'
import type { Log } from './log.ts'
import * as runtime from './runtime.ts'

/** Dependencies that {@link serve} gives to every endpoint. */
export interface EndpointDeps {
  readonly log: Log
  readonly access: AccessControl<Device>
}

/** A getter for each dependency beside those that are always given. */
type Getters<Deps, Given extends keyof never> = {
  readonly [Name in Exclude<keyof Deps, Given>]: () => Deps[Name] | Promise<Deps[Name]>
}

/** Calls the getters one after the other, in their order: services that share a part find it built. */
const resolve = async (getters: Readonly<Record<string, () => unknown>>) => {
  const values: Record<string, unknown> = {}
  for (const [name, get] of Object.entries(getters)) values[name] = await get()
  return values
}

/**
 * The handler of an endpoint; `log` and `access` are always given.
 * @param getters of further dependencies, mostly from the runtime: `{ devices: runtime.devices }`.
 */
export function serve<Deps extends EndpointDeps>(
  build: (deps: Deps) => Hono<HttpEnv>,
  getters: Getters<Deps, keyof EndpointDeps>,
): HttpHandler {
  return httpHandler(
    async () =>
      build({
        log: runtime.log(),
        access: await runtime.accessControl(),
        ...(await resolve(getters)),
      } as Deps),
    runtime.log,
  )
}

/**
 * The handler of an endpoint that is open to everybody and uncounted; only `log` is given. Its bundle has no access control, so
 * that the deployed function needs no secret.
 */
export function serveUncounted<Deps extends { readonly log: Log }>(
  build: (deps: Deps) => Hono<HttpEnv>,
  getters: Getters<Deps, 'log'>,
): HttpHandler {
  return httpHandler(
    async () => build({ log: runtime.log(), ...(await resolve(getters)) } as Deps),
    runtime.log,
  )
}

/** The handler of a function for events; `log` is always given. @param getters as in {@link serve}. */
export function serveEvents<Deps extends { readonly log: Log }, Event, Answer>(
  build: (deps: Deps) => (event: Event, context?: EventContext) => Promise<Answer>,
  getters: Getters<Deps, 'log'>,
): (event: Event, context?: EventContext) => Promise<Answer> {
  return eventHandler(
    async () => build({ log: runtime.log(), ...(await resolve(getters)) } as Deps),
    runtime.log,
  )
}
