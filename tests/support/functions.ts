/** Runs the functions in this process, on a data directory of their own: tests see their answers without a server in front. */
import { randomBytes } from 'node:crypto'
import { type Config, loadConfig } from '../../lib/config.ts'
import { MessageTap } from '../../lib/mqtt/message-tap.ts'
import * as runtime from '../../lib/runtime.ts'
import { loadFunctions } from '../../local/functions.ts'
import { openApiDocument } from '../../scripts/openapi-document.ts'
import { temporaryFolder } from './temporary.ts'

export interface CallOptions {
  /** API key of a device. */
  readonly key?: string
  /** Sends the admin token. */
  readonly admin?: boolean
  /** Sent as JSON; a string is sent unchanged. */
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

export interface TestFunctions {
  readonly adminToken: string
  readonly messageTap: MessageTap
  /** Sends a request to the app of one function. @param functionName as in serverless.yml: `devices-register`. */
  call(functionName: string, method: string, path: string, options?: CallOptions): Promise<Answer>
  /** Sends an event to a function that has no route. */
  invoke(functionName: string, event: unknown): Promise<unknown>
  /** Registers a new device under a name that no other test device has. */
  register(fields?: Readonly<Record<string, unknown>>): Promise<{ id: number; key: string; name: string }>
  setStatus(id: number, status: string): Promise<Answer>
  /** The readings of a device, the oldest first. */
  historyOf(id: number): Promise<Answer['json']>
  /** The account of a device's readings. */
  accountOf(id: number): Promise<Answer['json']>
  close(): Promise<void>
}

/**
 * Opens the functions once per test file: a function keeps the services that its first call has built.
 * @param settings environment settings; rate limits are set so high that no test reaches them.
 * @param overrides further ones, as a program sets them.
 * @param iot the data plane of the broker, as `startRecordingBroker` gives it; undefined: no broker.
 */
export async function openFunctions(
  settings: Readonly<Record<string, string>> = {},
  iot?: Config['iot'],
  overrides: runtime.RuntimeOverrides = {},
): Promise<TestFunctions> {
  const folder = await temporaryFolder()
  const messageTap = new MessageTap()
  const adminToken = randomBytes(16).toString('hex')
  const outOfReach = '1000000'
  const functions = await loadFunctions()
  runtime.configure({
    config: {
      ...loadConfig({
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
      ...(iot && { iot }),
    },
    routes: functions.routes,
    messageTap,
    openApi: () => openApiDocument(functions),
    ...overrides,
  })
  await (await runtime.registry()).migrate()
  let made = 0

  const call: TestFunctions['call'] = async (functionName, method, path, options = {}) => {
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
    const isStream = answer.headers.get('content-type') === 'text/event-stream'
    // A stream ends when nobody reads it any more.
    if (isStream) await answer.body?.cancel()
    const got = isStream ? '' : await answer.text()
    const isJson = /^application\/json\b/.test(answer.headers.get('content-type') ?? '')
    return {
      status: answer.status,
      headers: answer.headers,
      text: got,
      json: isJson && got !== '' ? JSON.parse(got) : undefined,
    }
  }

  return {
    adminToken,
    messageTap,
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
    setStatus: (id, status) =>
      call('admin-set-status', 'PUT', `/api/v1/admin/devices/${id}/status`, {
        admin: true,
        body: { status },
      }),
    historyOf: async (id) =>
      (await call('telemetry-history', 'GET', `/api/v1/telemetry/${id}?order=asc`, { admin: true })).json
        .data,
    accountOf: async (id) =>
      (await call('admin-show', 'GET', `/api/v1/admin/devices/${id}`, { admin: true })).json.accounting,
    async close() {
      await runtime.close()
      await folder.remove()
    },
  }
}
