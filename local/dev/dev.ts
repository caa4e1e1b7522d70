/**
 * `npm run dev`: the functions as Lambdas under serverless-offline, beside the embedded broker. Rules and the authorizer of the
 * broker invoke the emulated functions. A change of a source is built and served within seconds.
 */
import { fileURLToPath } from 'node:url'
import { createMessenger } from '../../lib/broker/messenger.ts'
import { createAccounts } from '../../lib/broker/mosquitto-accounts.ts'
import { type Config, loadConfig, loadEnvFile } from '../../lib/config.ts'
import { createConfigurations } from '../../lib/configuration/configuration-service.ts'
import { createConfigurationStore } from '../../lib/configuration/configuration-store.ts'
import { ConfigurationPublisher } from '../../lib/configuration/publisher.ts'
import { digestKey } from '../../lib/devices/credentials.ts'
import { createPresence } from '../../lib/devices/presence.ts'
import { createLog } from '../../lib/log.ts'
import type { AuthorizerResult } from '../../lib/mqtt/authorizer.ts'
import { TopicTree } from '../../lib/mqtt/topics.ts'
import { openRegistry } from '../../lib/registry/db.ts'
import { createLeases } from '../../lib/registry/leases.ts'
import { root } from '../../lib/root.ts'
import { version } from '../../lib/version.ts'
import { watchLocal } from '../../scripts/build-local.ts'
import { asksForHelp } from '../../scripts/command.ts'
import { adminTokenFile } from '../admin-token.ts'
import { lockDataDir } from '../data-dir.ts'
import { markForStart } from '../database-marks.ts'
import { prepareForStart } from '../databases.ts'
import { type FunctionTable, loadFunctionTable } from '../function-table.ts'
import { type GatewayServices, type MqttGateway, openGateway } from '../mqtt/gateway.ts'
import { loadRules } from '../mqtt/rules.ts'
import { writeServerFile } from '../server-file.ts'
import { withSigningKey } from '../webhook-signing-key.ts'
import { Emulator } from './emulator.ts'
import { freePort, host, invokeWithRetries, type Lambda, lambdaAt, stage } from './offline.ts'

const help = `IoTFlow ${version}: the functions under serverless-offline, for development.

  npm run dev            serves them on this machine only; settings come from the environment and from .env, as for npm start
  npm run dev -- --help  prints this help

A change of a source is built and served at once. Ctrl-C ends everything.
`

const servicesOf = async (config: Config, lambda: Lambda): Promise<GatewayServices> => ({
  rules: await loadRules(fileURLToPath(new URL('iot-rules/', root)), config.topicRoot),
  invoke: invokeWithRetries(lambda),
  topics: new TopicTree(config.topicRoot),
  arrival: Date.now,
  log: createLog(config.logLevel),
})

/** Starts the embedded broker; its authorizer and its rules invoke the emulated functions. */
const startEmbeddedBroker = async (gateway: MqttGateway, config: Config, lambda: Lambda) => {
  const registry = await openRegistry(config.database)
  const { db } = registry
  await gateway.startBroker(await servicesOf(config, lambda), {
    onCommandReceived(deviceId, commandId) {
      // A receipt that is lost makes the command come again, in the next session of the device.
      lambda.invoke('commands-deliver', { received: [[deviceId, commandId]] }).catch(() => {})
    },
    authorize: async (event) => (await lambda.invoke('mqtt-authorize', event)) as AuthorizerResult,
    resetPresence: () => createPresence({ db, offlineAfterS: config.offlineAfterS }).reset(Date.now()),
    async republish() {
      if (gateway.iot === undefined) return
      const messenger = createMessenger(gateway.iot)
      const { read } = createConfigurationStore({ db })
      const publisher = new ConfigurationPublisher({
        db,
        read,
        messenger,
        topics: new TopicTree(config.topicRoot),
        log: createLog(config.logLevel),
      })
      await createConfigurations({ db, publisher }).republish()
      messenger.close()
    },
  })
  registry.close()
}

/** Starts the bridge to a Mosquitto, which hands messages to the emulated functions. */
const startMosquittoBridge = async (gateway: MqttGateway, config: Config, lambda: Lambda) => {
  const { db } = await openRegistry(config.database)
  const services = await servicesOf(config, lambda)
  const accounts = createAccounts({
    db,
    topics: new TopicTree(config.topicRoot),
    sendCommands: (commands) => gateway.sendCommands(commands),
    digestKey,
    log: services.log,
  })
  gateway.startBridge(services, {
    // One process has the data directory, so that no other one can hold the lease.
    leases: createLeases({ db, holder: 'this machine' }),
    reconcileAccounts: () => accounts.reconcile(),
  })
}

const printBanner = (
  functions: FunctionTable,
  httpUrl: string,
  ports: MqttGateway['ports'],
  { mqtt }: Config,
) => {
  let text = `\nIoTFlow ${version}, for development: ${functions.names.length} functions under serverless-offline.\n\n`
  for (const { method, path, functionName } of functions.routes) {
    text += `  ${method.padEnd(6)} ${path.replaceAll(/:(\w+)/g, '{$1}').padEnd(44)} ${functionName}\n`
  }
  text += `\n  HTTP       ${httpUrl}\n`
  if (ports.mqtt !== undefined) text += `  MQTT       mqtt://${host}:${ports.mqtt}\n`
  if (ports.mqttWs !== undefined) text += `  WebSocket  ws://${host}:${ports.mqttWs}\n`
  if (typeof mqtt === 'object') text += `  MQTT       ${mqtt.url}\n`
  text += `\nTry it:\n  curl -X POST ${httpUrl}/api/v1/devices/register \\\n    -H 'Content-Type: application/json' -d '{"name":"my-first-device","device_type":"sensor"}'\n`
  process.stdout.write(`${text}\nA change of a source is served at once. Ctrl-C ends it.\n`)
}

/** @throws {Error} one sentence when the settings are not for development. */
const checkSettings = ({ stage: configured, loopback, host: configuredHost, tls }: Config): void => {
  if (configured !== stage) throw new Error(`npm run dev runs stage local only, not ${configured}.`)
  if (!loopback)
    throw new Error(
      `npm run dev serves this machine only, not HOST ${configuredHost}: npm start is for other machines.`,
    )
  if (tls !== undefined)
    throw new Error('npm run dev has no TLS: unset TLS_CERT and TLS_KEY, or use npm start.')
}

/** Settings of the emulated functions, beside those of this process. */
const environmentOf = (config: Config, adminToken: string, { kind, ports, iot }: MqttGateway) => {
  const { mqtt, mqttWs } = kind === 'embedded' ? ports : config.ports
  const portOf = (port: number | undefined) => (port === undefined ? 'none' : String(port))
  return {
    ADMIN_TOKEN: adminToken,
    WEBHOOK_SIGNING_KEY: config.webhooks.signingKey ?? '',
    DATA_DIR: config.dataDir,
    STAGE: stage,
    HOST: host,
    MQTT_PORT: portOf(mqtt),
    MQTT_WS_PORT: portOf(mqttWs),
    IOT_ENDPOINT: iot?.endpoint ?? '',
    AWS_REGION: iot?.region ?? 'local',
    AWS_ACCESS_KEY_ID: iot?.credentials?.accessKeyId ?? 'none',
    AWS_SECRET_ACCESS_KEY: iot?.credentials?.secretAccessKey ?? 'none',
    SLS_TELEMETRY_DISABLED: '1',
    SLS_NOTIFICATIONS_MODE: 'off',
  }
}

/** Everything that `npm run dev` runs, opened in the order of the steps and ended in the reverse order. */
class DevServer {
  readonly #config: Config
  readonly #functions: FunctionTable
  readonly #gateway: MqttGateway
  readonly #lambda: Lambda
  readonly #httpPort: number
  readonly #emulator: Emulator
  #stopWatching: (() => Promise<void>) | undefined
  #ending = false

  /** @throws {Error} one sentence when the settings, a port or the data directory cannot be used. */
  static async start(settings: Config): Promise<DevServer> {
    checkSettings(settings)
    if (settings.ports.http === undefined) throw new Error('npm run dev needs a PORT.')
    await lockDataDir(settings.dataDir)
    const config = await withSigningKey(settings)
    const adminToken = config.adminToken ?? (await adminTokenFile(config.dataDir)).token
    await markForStart(config)
    await prepareForStart(config, createLog(config.logLevel))
    const functions = await loadFunctionTable()
    const ports = {
      http: await freePort(settings.ports.http, 'PORT'),
      lambda: await freePort(0, 'the Lambda port'),
    }
    const gateway = await openGateway({ host, ports: config.ports, mqtt: config.mqtt })
    if (gateway.kind === 'embedded') await startEmbeddedBroker(gateway, config, lambdaAt(ports.lambda))
    const server = new DevServer(config, functions, gateway, ports, adminToken)
    server.#stopWatching = await watchLocal(() => server.#emulator.restart())
    return server
  }

  private constructor(
    config: Config,
    functions: FunctionTable,
    gateway: MqttGateway,
    ports: { readonly http: number; readonly lambda: number },
    adminToken: string,
  ) {
    this.#config = config
    this.#functions = functions
    this.#gateway = gateway
    this.#lambda = lambdaAt(ports.lambda)
    this.#httpPort = ports.http
    this.#emulator = new Emulator({
      httpPort: ports.http,
      lambdaPort: ports.lambda,
      environment: environmentOf(config, adminToken, gateway),
      onServing: (first) => this.#announce(first),
      onFailed: (error) => {
        process.stderr.write(`${error.message}\n`)
        void this.end(1)
      },
    })
  }

  async #announce(first: boolean): Promise<void> {
    if (!first) {
      process.stdout.write('The new build is served.\n')
      return
    }
    // The bridge starts after the functions: its first events need functions that answer.
    if (this.#gateway.kind === 'mosquitto')
      await startMosquittoBridge(this.#gateway, this.#config, this.#lambda)
    await writeServerFile(this.#config.dataDir, `http://${host}:${this.#httpPort}`)
    printBanner(this.#functions, `http://${host}:${this.#httpPort}`, this.#gateway.ports, this.#config)
  }

  /** Ends everything, and this process with the exit code. */
  async end(code: number): Promise<void> {
    if (this.#ending) return
    this.#ending = true
    await this.#gateway.stopMessages()
    await this.#emulator.stop()
    await this.#gateway.close()
    await this.#stopWatching?.()
    process.exit(code)
  }
}

export const main = async () => {
  if (asksForHelp(process.argv.slice(2))) {
    process.stdout.write(help)
    return
  }
  loadEnvFile('.env')
  try {
    const server = await DevServer.start(loadConfig())
    process.on('SIGINT', () => void server.end(0))
    process.on('SIGTERM', () => void server.end(0))
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    process.exit(1)
  }
}
