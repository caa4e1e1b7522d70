/** The functions of the layer in this process, on a data directory of their own: what a function answers, without a door. */
import { randomBytes } from 'node:crypto'
import { loadConfig } from '../../lib/config.ts'
import * as runtime from '../../lib/runtime.ts'
import { loadFunctions } from '../../local/functions.ts'
import { temporaryFolder } from './temporary.ts'

export interface CallOptions {
  /** API key of a device. */
  readonly key?: string
  /** With the admin token. */
  readonly admin?: boolean
  /** Sent as JSON; text is sent as it is. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers by their documented names.
  readonly json: any
}

export interface Layer {
  readonly adminToken: string
  /** A request to the app of one function. @param functionName as in serverless.yml: `devices-register`. */
  call(functionName: string, method: string, path: string, options?: CallOptions): Promise<Answer>
  /** An event to a function that has no route. */
  invoke(functionName: string, event: unknown): Promise<unknown>
  /** A new device with a name of its own. */
  register(fields?: Readonly<Record<string, unknown>>): Promise<{ id: number; key: string; name: string }>
  close(): Promise<void>
}

/** @param settings of the environment, beside a registry and limits that no test reaches. One layer at a time. */
export async function openLayer(settings: Readonly<Record<string, string>> = {}): Promise<Layer> {
  const folder = await temporaryFolder()
  const adminToken = randomBytes(16).toString('hex')
  const outOfReach = '1000000'
  const functions = await loadFunctions()
  runtime.configure({
    config: loadConfig({
      DATA_DIR: folder.path,
      ADMIN_TOKEN: adminToken,
      OPEN_REGISTRATION: 'true',
      LOG_LEVEL: 'silent',
      RATE_LIMIT_PER_MINUTE: outOfReach,
      RATE_LIMIT_TELEMETRY_PER_MINUTE: outOfReach,
      RATE_LIMIT_REGISTER_PER_5_MINUTES: outOfReach,
      RATE_LIMIT_IP_PER_MINUTE: outOfReach,
      ...settings,
    }),
    routes: functions.routes,
  })
  await (await runtime.registry()).migrate()
  let made = 0

  const call: Layer['call'] = async (functionName, method, path, options = {}) => {
    const { key, admin, body, headers } = options
    const app = await (await functions.http(functionName)).app()
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const answer = await app.request(path, {
      method,
      headers: {
        ...(text === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...(key === undefined ? {} : { 'X-API-Key': key }),
        ...(admin ? { Authorization: `Bearer ${adminToken}` } : {}),
        ...headers,
      },
      ...(text === undefined ? {} : { body: text }),
    })
    const got = await answer.text()
    const isJson = /json/.test(answer.headers.get('content-type') ?? '')
    return {
      status: answer.status,
      headers: answer.headers,
      text: got,
      json: isJson ? JSON.parse(got) : undefined,
    }
  }

  return {
    adminToken,
    call,
    invoke: async (functionName, event) => (await functions.event(functionName))(event),
    async register(fields = {}) {
      made += 1
      const body = { name: `device ${made}`, device_type: 'sensor', ...fields }
      const answer = await call('devices-register', 'POST', '/api/v1/devices/register', { body })
      if (answer.status !== 201) throw new Error(`registration answered ${answer.status}: ${answer.text}`)
      const { id, api_key: key, name } = answer.json.device
      return { id, key, name }
    },
    async close() {
      await runtime.close()
      await folder.remove()
    },
  }
}
