/** The three ways to run the functions, with one interface: suites that check the contract run on all of them. */
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { loadConfig, settingNames } from '../../lib/config.ts'
import { createLog } from '../../lib/log.ts'
import type { AuthorizerResult } from '../../lib/mqtt/authorizer.ts'
import { root } from '../../lib/root.ts'
import { prepareDatabases } from '../../local/databases.ts'
import { loadFunctions } from '../../local/functions.ts'
import { openDataPlane } from '../../local/mqtt/data-plane.ts'
import { startBroker } from '../../local/mqtt/embedded/broker.ts'
import { loadRules } from '../../local/mqtt/rules.ts'
import { builtCloud } from './cloud-bundles.ts'
import { account, region, startGateway, startLambda } from './lambda.ts'
import { startSqld } from './sqld.ts'
import { startStandaloneServer } from './standalone.ts'
import { temporaryFolder } from './temporary.ts'

export interface Deployment {
  readonly httpUrl: string
  readonly mqttUrl: string
  readonly adminToken: string
  /** Calls a function, where no schedule does. */
  readonly invoke?: (functionName: string, event: unknown) => Promise<unknown>
  stop(): Promise<void>
}

export type Settings = Readonly<Record<string, string>>

export const adminToken = 'admin-token-of-the-tests-0123456789'

/** Request limits are off, because the suites send many requests from one address. */
const freely: Settings = {
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
  RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
  RATE_LIMIT_IP_PER_MINUTE: '0',
}

const openNode = async (settings: Settings): Promise<Deployment> => {
  const server = await startStandaloneServer({
    settings: { ADMIN_TOKEN: adminToken, ...freely, ...settings },
  })
  return { httpUrl: server.httpUrl, mqttUrl: server.mqttUrl, adminToken, stop: () => server.stop() }
}

const openOffline = async (settings: Settings): Promise<Deployment> => {
  const folder = await temporaryFolder()
  const { scripts } = JSON.parse(await readFile(new URL('package.json', root), 'utf8')) as {
    scripts: { dev: string }
  }
  const child = spawn(process.execPath, scripts.dev.split(' ').slice(1), {
    cwd: fileURLToPath(root),
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      ...Object.fromEntries(settingNames.map((name) => [name, ''])),
      PORT: '0',
      MQTT_PORT: '0',
      MQTT_WS_PORT: '0',
      DATA_DIR: folder.path,
      ADMIN_TOKEN: adminToken,
      ...freely,
      ...settings,
    },
  })
  let out = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      out += chunk
    })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const shown = (name: string) => new RegExp(`^  ${name} +(\\S+)$`, 'm').exec(out)?.[1]
  while (!out.includes('Ctrl-C ends it.')) {
    if (child.exitCode !== null) throw new Error(`npm run dev ended with ${child.exitCode}:\n${out}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return {
    httpUrl: shown('HTTP') ?? '',
    mqttUrl: shown('MQTT') ?? '',
    adminToken,
    async stop() {
      child.kill('SIGINT')
      const code = await exited
      await folder.remove()
      if (code !== 0) throw new Error(`npm run dev ended with ${code}:\n${out}`)
    },
  }
}

const openCloud = async (settings: Settings): Promise<Deployment> => {
  await builtCloud()
  const sqld = await startSqld()
  await prepareDatabases(loadConfig({ ...settings, DATABASE_URL: sqld.url }), createLog('silent'))

  const functions = await loadFunctions()
  let broker: Awaited<ReturnType<typeof startBroker>> | undefined
  const plane = await openDataPlane(() => broker)
  const lambda = startLambda(new URL('dist/cloud/', root), {
    STAGE: 'dev',
    ADMIN_TOKEN: adminToken,
    DATABASE_URL: sqld.url,
    OPEN_REGISTRATION: 'true',
    PUBLIC_TELEMETRY_READS: 'true',
    IOT_ENDPOINT: plane.endpoint,
    AWS_REGION: region,
    AWS_ACCESS_KEY_ID: plane.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: plane.credentials.secretAccessKey,
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    LOG_LEVEL: 'warn',
    ...freely,
    ...settings,
  })
  const gateway = await startGateway(functions, lambda)
  broker = await startBroker({
    host: '127.0.0.1',
    port: 0,
    wsPort: 'none',
    arnPrefix: `arn:aws:iot:${region}:${account}:`,
    rules: await loadRules(fileURLToPath(new URL('iot-rules/', root))),
    nextMessageId: () => crypto.randomUUID(),
    authorize: async (event) => (await lambda.invoke('mqtt-authorize', event)) as AuthorizerResult,
    invoke: async (functionName, event) => {
      await lambda.invoke(functionName, event)
    },
    log: () => {},
  })
  return {
    httpUrl: gateway.url,
    mqttUrl: `mqtt://127.0.0.1:${broker.port}`,
    adminToken,
    invoke: (functionName, event) => lambda.invoke(functionName, event),
    async stop() {
      await broker?.close()
      await gateway.close()
      await lambda.close()
      await plane.close()
      await sqld.stop()
    },
  }
}

/** @param settings in addition to those that open registration and reads. */
export const deployments = {
  'npm start': (settings: Settings = {}) => openNode(settings),
  'npm run dev': (settings: Settings = {}) => openOffline(settings),
  'cloud bundles': (settings: Settings = {}) => openCloud(settings),
} as const

export type DeploymentName = keyof typeof deployments
