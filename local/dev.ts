/**
 * `npm run dev`: the functions as Lambdas under serverless-offline, with the embedded broker beside them. Its rules and its
 * authorizer invoke the emulated functions; a change of a source is built and served within seconds.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { createConfigurations } from '../lib/commands/configuration.ts'
import { createMessenger } from '../lib/commands/messenger.ts'
import { type Config, ConfigError, loadConfig, loadEnvFile, type MqttConnection } from '../lib/config.ts'
import { createAccounts } from '../lib/devices/accounts.ts'
import { createPresence } from '../lib/devices/presence.ts'
import { createLog } from '../lib/log.ts'
import { controlTopic } from '../lib/mqtt/accounts.ts'
import type { AuthorizerEvent, AuthorizerResult } from '../lib/mqtt/authorizer.ts'
import { openRegistry } from '../lib/registry/db.ts'
import { createLeases } from '../lib/registry/leases.ts'
import { nextRequestId } from '../lib/request-id.ts'
import { version } from '../lib/version.ts'
import { startBridge } from './bridge.ts'
import { type Broker, startBroker } from './broker.ts'
import { watchLocal } from './build.ts'
import { type DataPlane, openDataPlane } from './data-plane.ts'
import { prepareForStart } from './databases.ts'
import { takeFolder } from './folder.ts'
import { type FunctionTable, loadFunctions } from './functions.ts'
import { type Leader, startLeader } from './leader.ts'
import { adminTokenFile } from './machine.ts'
import { connectMosquitto, type Mosquitto } from './mosquitto.ts'
import { loadRules } from './rules.ts'
import { listenFault } from './server.ts'

const help = `IoTFlow ${version}: the functions under serverless-offline, for development.

  npm run dev            runs them for this machine only; settings come from the environment and from .env, as for npm start
  npm run dev -- --help  shows this

A change of a source is built and served at once. Ctrl-C ends all of it.
`

const service = 'iotflow'
const stage = 'local'
const root = fileURLToPath(new URL('../', import.meta.url))
/** Whoever reaches the Lambda API of serverless-offline may call any function: for any device, without its key. */
const host = '127.0.0.1'
const startMs = 60_000
const stopMs = 3000
/** Pauses after the tries of one event: AWS tries a rule's function twice again. */
const retryAfterMs = [500, 2000, 0]

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * A free port of this machine; whoever takes it has to be quick. Instead of 0 it is one that systems give to nobody by
 * themselves, so that no connection has it before serverless-offline.
 */
const freePort = async (wanted: number, setting: string): Promise<number> => {
  for (let tries = 1; ; tries += 1) {
    const port = wanted === 0 ? randomInt(20_000, 32_000) : wanted
    const server = createServer()
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(port, host, resolve)
      })
      await new Promise((resolve) => server.close(resolve))
      return port
    } catch (error) {
      if (wanted !== 0 || tries === 20)
        throw new Error(listenFault(error as NodeJS.ErrnoException, setting, port, host))
    }
  }
}

interface Lambda {
  invoke(functionName: string, event: unknown): Promise<unknown>
}

/** The Lambda API of serverless-offline. */
const lambdaAt = (port: number): Lambda => ({
  async invoke(functionName, event) {
    const name = `${service}-${stage}-${functionName}`
    const response = await fetch(`http://${host}:${port}/2015-03-31/functions/${name}/invocations`, {
      method: 'POST',
      headers: { 'X-Amz-Invocation-Type': 'RequestResponse' },
      body: JSON.stringify(event),
      signal: AbortSignal.timeout(30_000),
    })
    const text = await response.text()
    const failed = response.headers.get('x-amz-function-error') !== null
    if (!response.ok || failed) throw new Error(`function ${functionName} failed`)
    return text === '' ? undefined : (JSON.parse(text) as unknown)
  },
})

interface Child {
  /** Resolves when it serves. */
  ready: Promise<void>
  /** Resolves to true when it has ended without being told to. */
  died: Promise<boolean>
  stop(): Promise<void>
}

const startOffline = (options: {
  httpPort: number
  lambdaPort: number
  environment: Record<string, string>
}): Child => {
  const { httpPort, lambdaPort, environment } = options
  const child: ChildProcess = spawn(
    process.execPath,
    [
      ...['--import', './local/offline-origins.mjs'],
      'node_modules/serverless/bin/serverless.js',
      'offline',
      ...['--stage', stage, '--param', 'dist=dist/local', '--host', host],
      ...['--httpPort', String(httpPort), '--lambdaPort', String(lambdaPort), '--websocketPort', '0'],
      ...['--noPrependStageInUrl', '--localEnvironment', '--noTimeout', '--noSponsor'],
      // Of the Lambda API, which no browser may read; HTTP has what serverless.yml says.
      ...['--corsAllowOrigin', 'none'],
      ...['--terminateIdleLambdaTime', '86400'],
    ],
    {
      cwd: root,
      // A group of its own: Ctrl-C reaches it through us, after the broker has ended.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    },
  )
  let stopping = false
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const ready = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('serverless-offline did not start in time.')), startMs)
    // What it says while it starts is of interest only when it does not.
    let starting: string | undefined = ''
    const read = (chunk: Buffer) => {
      if (starting === undefined) {
        process.stderr.write(chunk)
        return
      }
      starting += chunk
      if (!/Server ready: http/.test(starting)) return
      starting = undefined
      clearTimeout(timer)
      resolve()
    }
    child.stdout?.on('data', read)
    child.stderr?.on('data', read)
    void exited.then(() => {
      clearTimeout(timer)
      if (stopping) return
      if (starting !== undefined) process.stderr.write(starting)
      reject(new Error('serverless-offline has ended.'))
    })
  })
  return {
    ready,
    died: exited.then(() => !stopping),
    async stop() {
      stopping = true
      ready.catch(() => undefined)
      const signal = (name: NodeJS.Signals) => {
        try {
          process.kill(-(child.pid ?? 0), name)
        } catch {
          // It is gone already.
        }
      }
      signal('SIGTERM')
      await Promise.race([exited, pause(stopMs)])
      signal('SIGKILL')
      await exited
    },
  }
}

/** Tries of one event, as AWS does it for a rule. */
const invokeWith = (lambda: Lambda) => async (functionName: string, event: Record<string, unknown>) => {
  for (const waitMs of retryAfterMs) {
    try {
      await lambda.invoke(functionName, event)
      return
    } catch (error) {
      if (waitMs === 0) throw error
      await pause(waitMs)
    }
  }
}

const rulesOf = () => loadRules(fileURLToPath(new URL('../iot-rules/', import.meta.url)))

/** The broker's questions and events go to the emulated functions. */
const startLocalBroker = async (config: Config, lambda: Lambda): Promise<Broker> => {
  const log = createLog(config.logLevel)
  const { ports } = config
  return startBroker({
    host,
    port: ports.mqtt ?? 'none',
    wsPort: ports.mqttWs ?? 'none',
    rules: await rulesOf(),
    nextMessageId: nextRequestId,
    authorize: async (event: AuthorizerEvent) =>
      (await lambda.invoke('mqtt-authorize', event)) as AuthorizerResult,
    invoke: invokeWith(lambda),
    log: (level, msg, fields) => log[level](msg, fields),
  })
}

/** The embedded broker keeps its retained messages in memory only. */
const republish = async (config: Config, plane: DataPlane) => {
  const registry = await openRegistry(config.database)
  const messenger = createMessenger(plane)
  await createConfigurations({ db: registry.db, messenger, log: createLog(config.logLevel) }).republish()
  messenger.close()
  registry.close()
}

/** The events of a Mosquitto go to the emulated functions, from whichever process has the lease. */
const startOwnBroker = async (config: Config, own: MqttConnection, lambda: Lambda, mosquitto: Mosquitto) => {
  const log = createLog(config.logLevel)
  const rules = await rulesOf()
  const { db } = await openRegistry(config.database)
  const accounts = createAccounts({
    db,
    say: (commands) =>
      mosquitto.publish({
        topic: controlTopic,
        payload: JSON.stringify({ commands }),
        qos: 1,
        retain: false,
      }),
    log,
  })
  return startLeader({
    // Nobody else has the folder, and with a server nobody else develops on it.
    leases: createLeases({ db, holder: 'this machine' }),
    open: () =>
      startBridge({
        ...own,
        rules,
        invoke: invokeWith(lambda),
        nextMessageId: nextRequestId,
        arrival: Date.now,
        log: (level, msg, fields) => log[level](msg, fields),
      }),
    settle: () => accounts.settle(),
    log,
  })
}

const prepare = async (config: Config): Promise<void> => {
  await prepareForStart(config, createLog(config.logLevel))
  const registry = await openRegistry(config.database)
  // Nobody is connected to a broker that has not started.
  await createPresence({ db: registry.db, changed: () => {} }).reset(Date.now())
  registry.close()
}

const banner = (functions: FunctionTable, httpUrl: string, broker: Broker | undefined, { mqtt }: Config) => {
  let text = `\nIoTFlow ${version}, for development: ${functions.names.length} functions under serverless-offline.\n\n`
  for (const { method, path, functionName } of functions.routes) {
    text += `  ${method.padEnd(6)} ${path.replaceAll(/:(\w+)/g, '{$1}').padEnd(44)} ${functionName}\n`
  }
  text += `\n  HTTP       ${httpUrl}\n`
  if (broker?.port !== undefined) text += `  MQTT       mqtt://${host}:${broker.port}\n`
  if (broker?.wsPort !== undefined) text += `  WebSocket  ws://${host}:${broker.wsPort}\n`
  if (typeof mqtt === 'object') text += `  MQTT       ${mqtt.url}\n`
  text += `\nTry it:\n  curl -X POST ${httpUrl}/api/v1/devices/register \\\n    -H 'Content-Type: application/json' -d '{"name":"my-first-device","device_type":"sensor"}'\n`
  process.stdout.write(`${text}\nA change of a source is served at once. Ctrl-C ends it.\n`)
}

const main = async () => {
  if (process.argv.slice(2).some((argument) => argument === '--help' || argument === '-h')) {
    process.stdout.write(help)
    return
  }
  loadEnvFile('.env')
  const config = loadConfig()
  if (config.stage !== 'local') throw new Error(`npm run dev runs stage local only, not ${config.stage}.`)
  if (!config.loopback)
    throw new Error(
      `npm run dev serves this machine only, not HOST ${config.host}: npm start is for other machines.`,
    )
  if (config.tls !== undefined)
    throw new Error('npm run dev has no TLS: unset TLS_CERT and TLS_KEY, or use npm start.')
  if (config.ports.http === undefined) throw new Error('npm run dev needs a PORT.')
  await takeFolder(config.dataDir)
  const adminToken = config.adminToken ?? (await adminTokenFile(config.dataDir)).token
  await prepare(config)
  const functions = await loadFunctions()

  const httpPort = await freePort(config.ports.http, 'PORT')
  const lambdaPort = await freePort(0, 'the Lambda port')
  const own = config.mqtt
  let broker: Broker | undefined
  const mosquitto = typeof own === 'object' ? connectMosquitto(own) : undefined
  const plane: DataPlane = await openDataPlane(() => mosquitto ?? broker)
  if (own === undefined) {
    broker = await startLocalBroker(config, lambdaAt(lambdaPort))
    await republish(config, plane)
  }

  const portOf = (port: number | undefined) => (port === undefined ? 'none' : String(port))
  const environment = {
    ADMIN_TOKEN: adminToken,
    DATA_DIR: config.dataDir,
    STAGE: stage,
    HOST: host,
    MQTT_PORT: portOf(broker ? broker.port : config.ports.mqtt),
    MQTT_WS_PORT: portOf(broker ? broker.wsPort : config.ports.mqttWs),
    IOT_ENDPOINT: own === 'none' ? '' : plane.endpoint,
    AWS_REGION: plane.region,
    AWS_ACCESS_KEY_ID: plane.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: plane.credentials.secretAccessKey,
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    SLS_TELEMETRY_DISABLED: '1',
    SLS_NOTIFICATIONS_MODE: 'off',
  }
  let leader: Leader | undefined
  let child: Child | undefined
  let ending = false
  let shown = false
  /** One restart after the other; what changes meanwhile makes one more. */
  let wanted = 0
  let serving: Promise<void> = Promise.resolve()
  const serve = async (turn: number) => {
    if (turn !== wanted || ending) return
    await child?.stop()
    if (ending) return
    const started = startOffline({ httpPort, lambdaPort, environment })
    child = started
    await started.ready
    // An error that no handler caught ends the emulator; Lambda would begin with a new container, and so do we.
    void started.died.then((died) => {
      if (!died || ending) return
      process.stderr.write('A function has ended serverless-offline with an error: it is started again.\n')
      serveNext()
    })
    if (shown) process.stdout.write('Served anew.\n')
    else {
      // Its first events need functions that answer.
      if (typeof own === 'object' && mosquitto)
        leader = await startOwnBroker(config, own, lambdaAt(lambdaPort), mosquitto)
      banner(functions, `http://${host}:${httpPort}`, broker, config)
    }
    shown = true
  }
  const serveNext = () => {
    wanted += 1
    const turn = wanted
    serving = serving
      .then(() => serve(turn))
      .catch((error: Error) => {
        process.stderr.write(`${error.message}\n`)
        if (!ending) void end(1)
      })
  }
  const unwatch = await watchLocal(() => {
    if (!ending) serveNext()
  })

  const end = async (code: number) => {
    if (ending) return
    ending = true
    await leader?.close()
    await broker?.close()
    await mosquitto?.close()
    await child?.stop()
    await plane.close()
    await unwatch()
    process.exit(code)
  }
  process.on('SIGINT', () => void end(0))
  process.on('SIGTERM', () => void end(0))
}

main().catch((error: unknown) => {
  const text = error instanceof ConfigError ? error.problems.join('\n') : (error as Error).message
  process.stderr.write(`${text}\n`)
  process.exit(1)
})
