/**
 * The composition root: one lazily built value per service. Getters are function declarations, so that a bundle
 * carries only what its function asks for.
 */
import { join } from 'node:path'
import { type Config, loadConfig } from './config.ts'
import type { Device } from './devices/device.ts'
import { createDevices, type Devices } from './devices/devices.ts'
import { addressOf } from './http/address.ts'
import { createGate, type Gate } from './http/auth.ts'
import { createMemoryLimiter, type Limiter } from './http/limit.ts'
import { createUpstashLimiter } from './http/limit-upstash.ts'
import { createLog, type Log } from './log.ts'
import { openRegistry, type Registry } from './registry/db.ts'
import { createDeadLetters, type DeadLetters } from './telemetry/dead-letters.ts'
import { openEmbeddedStore } from './telemetry/embedded.ts'
import { createTelemetry, type Telemetry } from './telemetry/telemetry.ts'

export interface Given {
  config?: Config
  /** See `DevicesOptions.cacheMs`; only sound where this process is the one that writes the registry. */
  cacheMs?: number
  /** Every route of the system, for answers to unknown ones. */
  routes?: readonly Route[]
}

export interface Route {
  readonly method: string
  /** In Hono's form: `/api/v1/telemetry/:id`. */
  readonly path: string
}

let given: Given = {}
const built = new Map<string, unknown>()
const closers: (() => unknown)[] = []

/** What failed to build is tried again by the next call. */
const once = <T>(name: string, build: () => T): T => {
  if (built.has(name)) return built.get(name) as T
  const value = build()
  built.set(name, value)
  if (value instanceof Promise) value.catch(() => built.delete(name))
  return value
}

/** Sets what a front door knows better than the environment; before the first getter is called. */
export function configure(values: Given): void {
  if (built.size > 0) throw new Error('configure() comes before the first use of the runtime')
  given = values
}

/** Ends every service, the last one built first, and forgets them all. */
export async function close(): Promise<void> {
  for (const end of closers.splice(0).reverse()) await end()
  built.clear()
  given = {}
}

export function config(): Config {
  return once('config', () => given.config ?? loadConfig())
}

export function routes(): readonly Route[] {
  return given.routes ?? []
}

export function log(): Log {
  return once('log', () => {
    const value = createLog(config().logLevel)
    closers.push(() => value.flush())
    return value
  })
}

export function registry(): Promise<Registry> {
  return once('registry', async () => {
    const value = await openRegistry(config().database)
    closers.push(() => value.close())
    return value
  })
}

export function devices(): Promise<Devices> {
  return once('devices', async () => {
    const value = createDevices({
      db: (await registry()).db,
      log: log(),
      keyLength: config().apiKeyLength,
      offlineAfterS: config().offlineAfterS,
      cacheMs: given.cacheMs ?? 0,
    })
    closers.push(() => value.close())
    return value
  })
}

export function telemetry(): Promise<Telemetry> {
  return once('telemetry', async () => {
    const retentionMs = config().retentionDays * 86_400_000
    const store = await openEmbeddedStore({
      file: join(config().dataDir, 'telemetry.db'),
      log: log(),
      retentionMs,
    })
    closers.push(() => store.close())
    return createTelemetry({ store, retentionMs })
  })
}

export function deadLetters(): Promise<DeadLetters> {
  return once('deadLetters', async () => createDeadLetters({ db: (await registry()).db }))
}

export function limiter(): Limiter {
  return once('limiter', () => {
    const { upstash, stage } = config()
    const memory = createMemoryLimiter()
    if (upstash === undefined) return memory
    return createUpstashLimiter({ ...upstash, prefix: `iotflow:${stage}`, fallback: memory, log: log() })
  })
}

export function gate(): Promise<Gate<Device>> {
  return once('gate', async () => {
    const { limits, trustProxy, adminToken, enrollmentKeys, openRegistration, publicTelemetryReads } =
      config()
    const service = await devices()
    return createGate({
      authenticate: service.authenticate,
      limiter: limiter(),
      limits,
      addressOf: addressOf(trustProxy),
      adminToken,
      enrollmentKeys,
      openRegistration,
      publicTelemetryReads,
    })
  })
}
