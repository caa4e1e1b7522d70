/** The base of the composition root: overrides, settings and the log, which the others need. */
import { type Config, loadConfig, logLevelOf } from './config.ts'
import type { Count } from './counts.ts'
import type { LiveUpdates } from './dashboard/live-updates.ts'
import type { MetricsPage } from './dashboard/metrics-page.ts'
import type { MinuteCounts } from './dashboard/minute-counts.ts'
import type { RefusalKind } from './http/access-control.ts'
import type { OpenApiDocument } from './http/openapi.ts'
import type { RoutedApp, SystemRoute } from './http/router.ts'
import { forgetBuilt } from './lambda/handler.ts'
import { createLog, type Log } from './log.ts'
import type { MessageTap } from './mqtt/message-tap.ts'
import { Services } from './services.ts'
import type { Tally } from './tally.ts'
import type { BatchObserver } from './telemetry/intake/batch-observer.ts'
import type { StoreOperation } from './telemetry/timed-store.ts'
import type { Outcome } from './webhooks/delivery-queue.ts'

/** Values that a program sets; they replace those of the environment. */
export interface RuntimeOverrides {
  config?: Config
  /** See `DevicesOptions.cacheMs`; 0 by default. */
  cacheMs?: number
  /** The process runs between requests, so that last-seen times need not be written before each answer. */
  longRunning?: boolean
  /** The ports of the embedded broker, which may differ from the settings. */
  mqttPorts?: () => Pick<Config['ports'], 'mqtt' | 'mqttTls' | 'mqttWs'>
  /** Clients that are connected to the embedded broker. */
  mqttConnections?: () => number | undefined
  /** Clients of a device, each with whether it is connected, where the embedded broker is in this process. */
  mqttClients?: (deviceId: number) => ReadonlyMap<string, boolean> | undefined
  /** Where every message passes this process: counts by the minute, and live updates. */
  minuteCounts?: MinuteCounts
  liveUpdates?: LiveUpdates
  /** They see every batch of readings. */
  batchObservers?: readonly BatchObserver[]
  /** In a process that runs between requests. */
  metrics?: ProcessMetrics
  /** In deployed functions: counts for CloudWatch. */
  count?: Count
  /** Sees the messages of devices, where they pass this process. */
  messageTap?: MessageTap
  /** Receives whole lines of the log; standard error by default. */
  writeLog?: (lines: string) => void
  /** Every route of the system, for the function that answers what no route takes. */
  routes?: readonly (SystemRoute | RoutedApp)[]
  /** Makes the OpenAPI document; called when it is first asked for. */
  openApi?: () => Promise<OpenApiDocument>
}

/** Metrics of a process, and what the services tell them. */
export interface ProcessMetrics extends MetricsPage {
  readonly refusals: { readonly http: Tally<RefusalKind>; readonly mqtt: Tally<string> }
  readonly webhooks: Tally<Outcome>
  readonly storeOperation: (operation: StoreOperation, ms: number) => void
  readonly alertSweep: (ms: number) => void
}

/** Those of `configure`. */
export let overrides: RuntimeOverrides = {}
const services = new Services()
/** Run at the end, the newest first. */
export const { closers } = services

/** What `build` gave at the first call under this name. */
export function once<T>(name: string, build: () => T): T {
  return services.once(name, build)
}

/** Sets the overrides. @throws {Error} after the first use of a getter. */
export function configure(values: RuntimeOverrides): void {
  if (!services.isEmpty) throw new Error('configure() comes before the first use of the runtime')
  overrides = values
}

/** Closes every service, and forgets the overrides and what handlers have built. @throws {unknown} the first error, after all are closed. */
export async function close(): Promise<void> {
  try {
    await services.close()
  } finally {
    overrides = {}
    forgetBuilt()
  }
}

export function config(): Config {
  return once('config', () => overrides.config ?? loadConfig())
}

/** Every route of the system; none unless `configure` has got them. */
export function routes(): readonly (SystemRoute | RoutedApp)[] {
  return overrides.routes ?? []
}

/** Put into a bundle by the build, made from the routes of the functions. */
declare const bundledOpenApi: OpenApiDocument | undefined

/** @throws {Error} where neither the build nor `configure` gave a document. */
export function openApi(): Promise<OpenApiDocument> {
  return once('openApi', async () => {
    if (overrides.openApi !== undefined) return overrides.openApi()
    if (typeof bundledOpenApi !== 'undefined') return bundledOpenApi
    throw new Error('This process has no OpenAPI document: pass `openApi` to configure().')
  })
}

/** How long lines of a server that runs on may wait for others, ms. Of a function, no line may wait: it stops after each answer. */
const logRestMs = 20

export function log(): Log {
  return once('log', () => {
    const { config: settings, writeLog, longRunning } = overrides
    const value = createLog(settings?.logLevel ?? logLevelOf(), writeLog, longRunning ? logRestMs : 0)
    // After a fault that ends the process, the last lines tell most.
    if (longRunning) process.on('exit', value.flush)
    closers.push(() => {
      process.off('exit', value.flush)
      value.flush()
    })
    return value
  })
}
