import { existsSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { errorResponse } from '../../lib/http/error-schema.ts'
import { loadFunctions } from '../../local/functions.ts'
import { errorsOf, examplePath, loadOperations, type Operation } from '../../scripts/openapi/operations.ts'
import { headers } from '../../scripts/openapi/vocabulary.ts'
import { openApiDocument } from '../../scripts/openapi-document.ts'
import { addFinishedDeletion } from '../support/finished-deletion.ts'
import { type Answer, type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { eventually } from '../support/waiting.ts'

const functions = await loadFunctions()
const everyOperation = await loadOperations(functions)
/** Only in stage `local`, which this server is not in: their own tests compare the answers. */
const localOnly = ['admin-session', 'admin-session-codes']
const operations = everyOperation.filter(({ id }) => !localOnly.includes(id))
const document = await openApiDocument(functions)

/** One request of an operation, and the status that it must be answered with. */
interface Attempt {
  readonly what: string
  readonly status: number
  readonly method?: string
  readonly path: string
  readonly headers?: Record<string, string>
  readonly body?: unknown
}

const adminToken = 'an-admin-token-of-the-tests'
const enrollmentKey = 'an-enrollment-key-of-the-tests'
/** As in a deployed stage: no open registration, no public reads. */
const strict = {
  STAGE: 'dev',
  ADMIN_TOKEN: adminToken,
  WEBHOOK_PRIVATE_ADDRESSES: '127.0.0.1',
  ENROLLMENT_KEY: enrollmentKey,
}
const unlimited = {
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
  RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
  RATE_LIMIT_IP_PER_MINUTE: '0',
}

const admin = { Authorization: `Bearer ${adminToken}` }

interface Caller {
  readonly id: number
  readonly key: string
  /** The id of a dead letter, for operations whose address names one. */
  readonly letter?: number
  /** The ids of an enrolment key and of a change of the fleet's configuration, likewise. */
  readonly enrollment?: number
  readonly fleetConfiguration?: number
  /** The ids of an alert of it, and of the rule that it breaks. */
  readonly alert?: number
  readonly alertRule?: number
  /** The ids of a webhook and of one of its deliveries. */
  readonly webhook?: number
  readonly delivery?: number
  /** The id of a deletion of its telemetry. */
  readonly deletion?: number
  /** The id of a fleet command to this device. */
  readonly fleetCommand?: string
  /** The id of a command of the device, likewise. */
  readonly command?: string
}

/** The value for `{id}` in the address. */
const targetOf = ({ path }: Operation, { id, ...own }: Caller) => {
  const { letter, deletion, enrollment, fleetConfiguration, alert, alertRule, webhook } = own
  if (path.includes('webhooks/')) return webhook ?? 0
  if (path.includes('alert-rules/')) return alertRule ?? 0
  if (path.includes('alerts/')) return alert ?? 0
  if (path.includes('deletions/')) return deletion ?? 0
  if (path.includes('dead-letters/')) return letter ?? 0
  if (path.includes('enrollment-keys/')) return enrollment ?? 0
  return path.includes('fleet/config/') ? (fleetConfiguration ?? 0) : id
}

/**
 * A conflict needs thousands of keys or rules, a hundred webhooks or notes, twenty changes that are not finished, an alert that is
 * cleared, a delivery that waits for another one: tests of these functions make them.
 */
const rareConflicts = [
  'admin-create-enrollment-key',
  'admin-fleet-configure',
  'admin-create-webhook',
  'admin-retry-webhook-delivery',
  'admin-create-alert-rule',
  'admin-acknowledge-alert',
  'admin-note-alert',
  'admin-create-webhook',
  'admin-retry-webhook-delivery',
]

const credentials = ({ access }: Operation, { key }: Caller): Record<string, string> => {
  if (access === 'device' || access === 'read') return { 'X-API-Key': key }
  if (access === 'admin' || access === 'metrics') return admin
  return access === 'enrol' ? { 'X-Enrollment-Key': enrollmentKey } : {}
}

/** The address with the id and the documented example of the parameters. */
const addressOf = (
  operation: Operation,
  id: number | string,
  more: Record<string, string> = {},
  others: Record<string, string> = {},
) => {
  const query = new URLSearchParams({
    ...Object.fromEntries(
      Object.entries(operation.exampleQuery ?? {}).map(([name, value]) => [name, String(value)]),
    ),
    ...more,
  }).toString()
  const path = examplePath(operation, id, others)
  return `${path}${query && `?${query}`}`
}

/** The address of what belongs to the caller. */
const ownAddress = (operation: Operation, caller: Caller, more: Record<string, string> = {}) =>
  addressOf(operation, targetOf(operation, caller), more, {
    command_id: caller.command ?? 'none',
    fleet_command_id: caller.fleetCommand ?? 'none',
    delivery_id: String(caller.delivery ?? 'none'),
  })

const send = (server: StandaloneServer, operation: Operation, attempt: Attempt): Promise<Answer> =>
  server.request(attempt.method ?? operation.method, attempt.path, {
    ...(attempt.headers ? { headers: attempt.headers } : {}),
    ...(attempt.body === undefined ? {} : { body: attempt.body }),
  })

const codes: Record<number, RegExp> = {
  400: /^(BAD_REQUEST|MALFORMED_JSON)$/,
  401: /^UNAUTHORIZED$/,
  403: /^FORBIDDEN$/,
  404: /^NOT_FOUND$/,
  405: /^METHOD_NOT_ALLOWED$/,
  409: /^CONFLICT$/,
  412: /^PRECONDITION_FAILED$/,
  413: /^PAYLOAD_TOO_LARGE$/,
  415: /^UNSUPPORTED_MEDIA_TYPE$/,
  422: /^(VALIDATION_FAILED|NOT_NUMERIC|TOO_OLD|BATCH_TOO_LONG)$/,
  429: /^RATE_LIMITED$/,
  501: /^NOT_IMPLEMENTED$/,
  503: /^(ADMIN_DISABLED|ENROLLMENT_DISABLED|WEBHOOKS_DISABLED|UNAVAILABLE)$/,
}
const headersOfErrors: Record<number, readonly string[]> = {
  401: ['WWW-Authenticate'],
  405: ['Allow'],
  429: ['Retry-After', 'RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset'],
  503: ['Retry-After'],
}

/** Compares an answer with the documentation of its status: it has every field and no other. */
const check = (operation: Operation, attempt: Attempt, answer: Answer) => {
  const { what, status } = attempt
  const about = `${operation.id}, ${what}: ${answer.text.slice(0, 300)}`
  expect(answer.status, about).toBe(status)
  const documented = operation.responses[status]
  expect(documented !== undefined || errorsOf(operation).includes(status), about).toBe(true)

  const required = [
    'X-Request-Id',
    ...(documented ? (documented.headers ?? []) : (headersOfErrors[status] ?? [])),
  ]
  for (const name of required) {
    const given = answer.headers.get(name)
    const described: { required?: boolean; schema: { type: string; pattern?: string } } =
      headers[name as keyof typeof headers]
    if (described.required) expect(given, `${name} of ${about}`).not.toBeNull()
    if (given === null) continue
    if (described.schema.type === 'integer') expect(given, name).toMatch(/^\d+$/)
    if (described.schema.pattern) expect(given, name).toMatch(new RegExp(described.schema.pattern))
  }

  const type = answer.headers.get('content-type')?.split(';')[0] ?? ''
  if (documented === undefined) {
    expect(type, about).toBe('application/json')
    const { error } = errorResponse.parse(answer.body)
    expect(error.code, about).toMatch(codes[status] ?? /^$/)
    expect(error.request_id).toBe(answer.headers.get('X-Request-Id'))
  } else if (documented.content === undefined) {
    expect(answer.text, about).toBe('')
  } else {
    expect(Object.keys(documented.content), about).toContain(type)
    const parsed = documented.content[type]?.safeParse(
      type === 'application/json' ? answer.body : answer.text,
    )
    expect(parsed?.error, about).toBeUndefined()
  }
}

/** Requests that must succeed: the documented examples, in every documented form. */
const successes = (operation: Operation, device: Caller): Attempt[] => {
  const { responses, body, query } = operation
  const status =
    Object.keys(responses)
      .map(Number)
      .find((one) => one < 300) ?? 0
  const path = ownAddress(operation, device)
  const own = credentials(operation, device)
  const found: Attempt[] = Object.entries(body?.examples ?? {}).map(([name, example]) => ({
    what: name,
    status,
    path,
    headers: body?.contentTypes === undefined ? own : { ...own, 'Content-Type': name },
    body: example,
  }))
  const withoutBody = { what: 'without a body', status, path, headers: own }
  if (body === undefined || (!body.required && operation.id !== 'telemetry-remove')) found.push(withoutBody)
  if (operation.id === 'telemetry-remove')
    found.push({
      ...withoutBody,
      path: addressOf(operation, device.id, { start_time: '-1h', stop_time: '-1m' }),
    })
  if (operation.access === 'read') found.push({ ...withoutBody, what: 'as an operator', headers: admin })
  for (const type of Object.keys(responses[status]?.content ?? {})) {
    const format = { 'text/csv': 'csv', 'application/x-ndjson': 'ndjson' }[type]
    if (format)
      for (const limit of ['1', '100'])
        found.push({ ...withoutBody, what: format, path: addressOf(operation, device.id, { format, limit }) })
  }
  if (query && 'limit' in query.shape)
    found.push({
      ...withoutBody,
      what: 'a first page',
      path: ownAddress(operation, device, { limit: '1' }),
    })
  if (query?.shape.field?.safeParse('*').success)
    found.push({ ...withoutBody, what: 'every field', path: addressOf(operation, device.id, { field: '*' }) })
  return found
}

/** Requests that must be refused, each for one reason. */
const refusals = (
  operation: Operation,
  { device, other, inactive }: Record<'device' | 'other' | 'inactive', Caller>,
): Attempt[] => {
  const { body, query, access, path: shape } = operation
  const path = ownAddress(operation, device)
  const own = credentials(operation, device)
  const example = Object.values(body?.examples ?? {})[0]
  const base = { path, headers: own, body: example }
  const found: Attempt[] = [{ ...base, what: 'another method', status: 405, method: 'PATCH' }]
  if (access !== 'none') {
    found.push({ ...base, what: 'without a credential', status: 401, headers: {} })
    const wrong = Object.fromEntries(
      Object.keys(own).map((name) => [name, name === 'Authorization' ? 'Bearer wrong' : 'A'.repeat(32)]),
    )
    found.push({ ...base, what: 'with a wrong credential', status: 401, headers: wrong })
  }
  if (operation.functionName === 'system-health')
    found.push({
      ...base,
      what: 'with a wrong credential',
      status: 401,
      headers: { Authorization: 'Bearer wrong' },
    })
  if (access === 'device' || access === 'read')
    found.push({
      ...base,
      what: 'by an inactive device',
      status: 403,
      headers: { 'X-API-Key': inactive.key },
    })
  if (shape.includes('{id}')) {
    for (const id of ['999999', 'x', '0', '01'])
      found.push({ ...base, what: `of the id ${id}`, status: 404, path: addressOf(operation, id) })
    if (access === 'device' || access === 'read')
      found.push({ ...base, what: 'of another device', status: 404, path: addressOf(operation, other.id) })
  }
  for (const name of Object.keys(operation.pathParameters ?? {}))
    found.push({ ...base, what: `of no such ${name}`, status: 404, path: shape.replace(`{${name}}`, 'none') })
  if (body?.contentTypes) {
    const [type = ''] = body.contentTypes
    const typed = { ...own, 'Content-Type': type }
    found.push(
      { ...base, what: 'a body of text', status: 415, headers: { ...own, 'Content-Type': 'text/plain' } },
      { ...base, what: 'a large body', status: 413, headers: typed, body: 'x'.repeat(4 * 1024 * 1024 + 1) },
      { ...base, what: 'no header', status: 422, headers: typed, body: 'nothing\n' },
      { what: 'without a body', status: 400, path, headers: own },
    )
  } else if (body) {
    const json = { ...own, 'Content-Type': 'application/json' }
    found.push(
      { ...base, what: 'half a body', status: 400, headers: json, body: '{"name":' },
      { ...base, what: 'a body of text', status: 415, headers: { ...own, 'Content-Type': 'text/plain' } },
      { ...base, what: 'a large body', status: 413, headers: json, body: `"${'x'.repeat(1024 * 1024)}"` },
      { ...base, what: 'a list of nothing', status: 422, body: [] },
      { ...base, what: 'null', status: 422, headers: json, body: 'null' },
    )
    if (body.required) found.push({ what: 'without a body', status: 400, path, headers: own })
  }
  for (const name of Object.keys(query?.shape ?? {})) {
    // Any short text is a valid device type.
    const odd = { [name]: '\u0000'.repeat(200) }
    found.push({
      what: `an odd ${name}`,
      status: 422,
      path: addressOf(operation, device.id, odd),
      headers: own,
    })
  }
  const otherConflicts = ['commands-create', ...rareConflicts]
  if (
    operation.errors?.includes(409) &&
    example !== undefined &&
    !otherConflicts.includes(operation.functionName)
  )
    found.push({
      ...base,
      what: 'a taken name',
      status: 409,
      body: { ...(example as object), name: 'other' },
    })
  if (operation.errors?.includes(412))
    found.push({ ...base, what: 'a stale version', status: 412, headers: { ...own, 'If-Match': '"99"' } })
  return found
}

let server: StandaloneServer
const seen = new Map<string, Set<number>>()

const register = async (on: StandaloneServer, name: string): Promise<Caller> => {
  const { status, body, text } = await on.request('POST', '/api/v1/devices/register', {
    headers: { 'X-Enrollment-Key': enrollmentKey },
    body: { name, device_type: 'sensor' },
  })
  expect(status, text).toBe(201)
  return { id: body.device.id, key: body.device.api_key }
}

/** A device with readings, a configuration and events. */
const experienced = async (name: string): Promise<Caller> => {
  const device = await register(server, name)
  const batch = [1, 2, 3].map((n) => ({
    values: { temperature: 20 + n, on: true, note: 'a' },
    age_ms: n * 1000,
  }))
  const one = { data: { temperature: 21 }, metadata: { place: 'north' } }
  for (const body of [batch, one])
    expect((await server.request('POST', '/api/v1/telemetry', { key: device.key, body })).status).toBe(201)
  const key = { config_key: 'interval', config_value: 5, data_type: 'integer' }
  expect(
    (await server.request('POST', '/api/v1/devices/config', { key: device.key, body: key })).status,
  ).toBe(200)
  const letter = await server.deadLetter(device.id, '{"temperature":21}')
  const deletion = await addFinishedDeletion(server.dataDir, device.id)
  const fleetCommand = await fleetCommandTo(device)
  const { body: made } = await server.request('POST', '/api/v1/admin/enrollment-keys', {
    headers: admin,
    body: { name: `for ${name}` },
  })
  const { body: change } = await server.request('PUT', '/api/v1/admin/fleet/config', {
    headers: admin,
    body: { filter: { ids: [device.id] }, configuration: { interval: 6 } },
  })
  const own = { enrollment: made.enrollment_key.id, fleetConfiguration: change.fleet_configuration_id }
  const alertIds = await alertOf(device)
  return {
    ...device,
    ...own,
    ...alertIds,
    ...(await webhookOf(name)),
    letter,
    deletion,
    fleetCommand,
    command: (await command(device.id)).body.command_id,
  }
}

/** Makes a webhook that nobody answers, and a delivery. A hundred of them may be, so that few callers have one. */
const webhookOf = async (name: string) => {
  if (!name.includes('webhook')) return {}
  const { body: made } = await server.request('POST', '/api/v1/admin/webhooks', {
    headers: admin,
    body: { name, url: 'https://127.0.0.1:9/', events: ['alert.*'] },
  })
  const path = `/api/v1/admin/webhooks/${made.webhook.id}/test`
  const { body: tested } = await server.request('POST', path, { headers: admin })
  return { webhook: made.webhook.id, delivery: tested.delivery_id }
}

/** Opens an alert of a device. */
const alertOf = async ({ id, key }: Caller) => {
  const { body: made } = await server.request('POST', '/api/v1/admin/alert-rules', {
    headers: admin,
    body: {
      name: `about ${id}`,
      target: { device_id: id },
      condition: { kind: 'threshold', field: 'humidity', op: '>', value: 90 },
    },
  })
  await server.request('POST', '/api/v1/telemetry', { key, body: { humidity: 91 } })
  const path = `/api/v1/admin/alerts?rule_id=${made.rule.id}`
  const { body: listed } = await server.request('GET', path, { headers: admin })
  return { alertRule: made.rule.id, alert: listed.alerts[0].id }
}

/** Sends a command to a device. */
const command = (id: number) =>
  server.request('POST', `/api/v1/admin/devices/${id}/commands`, {
    headers: admin,
    body: { command: 'restart' },
  })

/** Gives the device as many commands as it may have, or ends its command: a further step is a conflict. */
const exhaust = async (operation: Operation, device: Caller): Promise<void> => {
  if (operation.functionName === 'commands-create') {
    while ((await command(device.id)).status !== 409);
    return
  }
  const path = `/api/v1/devices/commands/${device.command}`
  await server.request('POST', path, { key: device.key, body: { status: 'succeeded' } })
}

const fleetPath = '/api/v1/admin/fleet/commands'

const fleetCommandTo = async ({ id }: Caller): Promise<string> => {
  const body = { command: 'ping', filter: { ids: [id] } }
  return (await server.request('POST', fleetPath, { headers: admin, body })).body.fleet_command_id
}

/** A fleet command whose device has answered. */
const finishedFleetCommand = async (device: Caller): Promise<string> => {
  const { key } = device
  const id = await fleetCommandTo(device)
  const shown = async () => (await server.request('GET', `${fleetPath}/${id}`, { headers: admin })).body
  const answer = `/api/v1/devices/commands/${(await shown()).commands[0].command_id}`
  await server.request('POST', answer, { key, body: { status: 'succeeded' } })
  await eventually(async () => expect((await shown()).fleet_command.status).toBe('finished'))
  return id
}

const tried = async (operation: Operation, attempt: Attempt): Promise<Answer> => {
  const answer = await send(server, operation, attempt)
  check(operation, attempt, answer)
  const statuses = seen.get(operation.id) ?? new Set()
  seen.set(operation.id, statuses.add(attempt.status))
  return answer
}

let other: Caller
let inactive: Caller

beforeAll(async () => {
  server = await startStandaloneServer({ settings: { ...strict, ...unlimited, LOG_LEVEL: 'warn' } })
  other = await register(server, 'other')
  inactive = await register(server, 'inactive')
  const path = `/api/v1/admin/devices/${inactive.id}/status`
  const { status } = await server.request('PUT', path, { headers: admin, body: { status: 'inactive' } })
  expect(status).toBe(200)
})
afterAll(() => server?.stop())

it.each(operations.map((operation) => [`${operation.method} ${operation.path}`, operation] as const))(
  '%s answers as documented',
  async (_, operation) => {
    const device = await experienced(operation.id)
    for (const attempt of refusals(operation, { device, other, inactive })) await tried(operation, attempt)
    if (operation.id === 'admin-replay-dead-letter') {
      const letters = [
        [400, device.id, '{"temperature":'],
        [409, 999_999, '{"temperature":21}'],
        [422, device.id, '[]'],
      ] as const
      for (const [status, id, payload] of letters) {
        const path = addressOf(operation, await server.deadLetter(id, payload))
        await tried(operation, { what: payload, status, path, headers: admin })
      }
    }
    if (operation.id === 'commands-fleet-cancel') {
      const path = `${fleetPath}/${await finishedFleetCommand(device)}`
      await tried(operation, { what: 'one that has ended', status: 409, path, headers: admin })
    }
    for (const attempt of successes(operation, device)) {
      const { headers: given } = await tried(operation, attempt)
      const tag = given.get('ETag')
      if (tag === null || operation.responses[304] === undefined) continue
      const again = { ...attempt, what: 'the version it has', status: 304 }
      await tried(operation, { ...again, headers: { ...attempt.headers, 'If-None-Match': tag } })
    }
    if (operation.functionName === 'commands-create' || operation.id === 'commands-cancel') {
      const fresh = { ...device, command: (await command(device.id)).body.command_id }
      await exhaust(operation, fresh)
      const path = ownAddress(operation, fresh)
      const body = Object.values(operation.body?.examples ?? {})[0]
      await tried(operation, { what: 'that cannot be', status: 409, path, headers: admin, body })
    }
  },
)

it('has a function, a documented operation and compared answers for every route', async () => {
  const { routes, file } = functions
  const rows = routes.map(({ method, path, functionName }) => {
    const template = path.replaceAll(/:(\w+)/g, '{$1}')
    const operation = everyOperation.find((one) => one.method === method && one.path === template)
    const described = (document.paths as Record<string, Record<string, { operationId: string }>>)[template]
    return [
      `${method} ${template}`,
      existsSync(file(functionName)) ? file(functionName) : '',
      described?.[method.toLowerCase()]?.operationId ?? '',
      [...((operation && seen.get(operation.id)) ?? [])].sort().join(' '),
    ]
  })
  const table = [['route', 'function', 'operation', 'answers compared with the document'], ...rows]
  const widths = [50, 38, 30, 0]
  console.log(table.map((row) => row.map((text, at) => text.padEnd(widths[at] ?? 0)).join(' ')).join('\n'))
  expect(rows.length).toBe(everyOperation.length)
  const compared = rows.filter(([, , id = '']) => !localOnly.includes(id))
  expect(compared.filter((row) => row.includes('') || !/\b20[0-4]\b/.test(row[3] ?? ''))).toEqual([])
})

it('answered with every documented status, except those that need a fault or too many requests', () => {
  const missing = operations.flatMap((operation) => {
    const documented = [...Object.keys(operation.responses).map(Number), ...errorsOf(operation)]
    // Only an unavailable store causes 202, and only another deployment 501.
    const rare = operation.body === undefined ? [400, 429, 500, 501, 503] : [202, 429, 500, 501, 503]
    if (rareConflicts.includes(operation.functionName)) rare.push(409)
    // Only of a device with much telemetry.
    if (operation.id === 'admin-delete') rare.push(202)
    return documented
      .filter((status) => !rare.includes(status) && !seen.get(operation.id)?.has(status))
      .map((status) => `${operation.id} ${status}`)
  })
  expect(missing).toEqual([])
})

it('refuses too many requests as documented', async () => {
  const one = Object.fromEntries(Object.keys(unlimited).map((name) => [name, '1']))
  const crowded = await startStandaloneServer({ settings: { ...strict, ...one, LOG_LEVEL: 'error' } })
  try {
    const device = await register(crowded, 'crowd')
    for (const operation of operations.filter(({ isCounted }) => isCounted)) {
      const wrong = { Authorization: 'Bearer wrong' }
      const attempt: Attempt = {
        what: 'once too often',
        status: 429,
        path: addressOf(operation, device.id),
        headers: operation.functionName === 'system-health' ? wrong : credentials(operation, device),
        body: Object.values(operation.body?.examples ?? {})[0],
      }
      await send(crowded, operation, attempt)
      check(operation, attempt, await send(crowded, operation, attempt))
    }
  } finally {
    await crowded.stop()
  }
})

it('answers as documented when no admin token and no enrolment key are set', async () => {
  const settings = { ...unlimited, STAGE: 'dev', LOG_LEVEL: 'error' }
  const closed = await startStandaloneServer({ settings })
  try {
    for (const operation of operations.filter(
      ({ access }) => access !== 'none' && access !== 'device' && access !== 'read',
    )) {
      const attempt: Attempt = {
        what: 'where it is not set',
        status: 503,
        path: addressOf(operation, 1),
        headers: credentials(operation, { id: 1, key: '' }),
        body: Object.values(operation.body?.examples ?? {})[0],
      }
      check(operation, attempt, await send(closed, operation, attempt))
    }
  } finally {
    await closed.stop()
  }
})
