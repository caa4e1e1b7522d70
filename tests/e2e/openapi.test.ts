import { existsSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import document from '../../lib/openapi.json' with { type: 'json' }
import { errorAnswer, errorsOf, headers, type Operation, operations } from '../../local/api.ts'
import { loadFunctions } from '../../local/functions.ts'
import { type Answer, type Machine, startMachine } from '../support/machine.ts'

/** One request of an operation, and what it has to be answered with. */
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
/** As deployed: nothing is open. */
const strict = {
  STAGE: 'dev',
  ADMIN_TOKEN: adminToken,
  ENROLLMENT_KEY: enrollmentKey,
}
const unlimited = {
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
  RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
  RATE_LIMIT_IP_PER_MINUTE: '0',
}

const idOf = ({ id, functionName }: Operation) => id ?? functionName
const admin = { Authorization: `Bearer ${adminToken}` }

interface Caller {
  readonly id: number
  readonly key: string
  /** What the address of the operation names, where that is no device. */
  readonly letter?: number
}

/** What `{id}` stands for. */
const targetOf = ({ path }: Operation, { id, letter }: Caller) =>
  path.includes('dead-letters/') ? (letter ?? 0) : id

const credentials = ({ who }: Operation, { key }: Caller): Record<string, string> => {
  if (who === 'device' || who === 'read') return { 'X-API-Key': key }
  if (who === 'admin') return admin
  return who === 'enrol' ? { 'X-Enrollment-Key': enrollmentKey } : {}
}

/** The address with the id and the documented example of the parameters. */
const addressOf = (
  { path, example = {} }: Operation,
  id: number | string,
  more: Record<string, string> = {},
) => {
  const query = new URLSearchParams({
    ...Object.fromEntries(Object.entries(example).map(([name, value]) => [name, String(value)])),
    ...more,
  }).toString()
  return `${path.replace('{id}', String(id))}${query && `?${query}`}`
}

const send = (machine: Machine, operation: Operation, attempt: Attempt): Promise<Answer> =>
  machine.request(attempt.method ?? operation.method, attempt.path, {
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
  422: /^(VALIDATION_FAILED|TOO_OLD)$/,
  429: /^RATE_LIMITED$/,
  503: /^(ADMIN_DISABLED|ENROLLMENT_DISABLED|UNAVAILABLE)$/,
}
const headersOfErrors: Record<number, readonly string[]> = {
  401: ['WWW-Authenticate'],
  405: ['Allow'],
  429: ['Retry-After', 'RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset'],
  503: ['Retry-After'],
}

/** Holds an answer to what is documented of its status: every field, and none more. */
const check = (operation: Operation, attempt: Attempt, answer: Answer) => {
  const { what, status } = attempt
  const about = `${idOf(operation)}, ${what}: ${answer.text.slice(0, 300)}`
  expect(answer.status, about).toBe(status)
  const documented = operation.answers[status]
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
    const { error } = errorAnswer.parse(answer.body)
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

/** Requests that have to succeed: those of the document, in each way that it offers. */
const successes = (operation: Operation, device: Caller): Attempt[] => {
  const { answers, body, parameters } = operation
  const status =
    Object.keys(answers)
      .map(Number)
      .find((one) => one < 300) ?? 0
  const path = addressOf(operation, targetOf(operation, device))
  const own = credentials(operation, device)
  const found: Attempt[] = Object.entries(body?.examples ?? {}).map(([name, example]) => ({
    what: name,
    status,
    path,
    headers: own,
    body: example,
  }))
  const withoutBody = { what: 'without a body', status, path, headers: own }
  if (body === undefined || (!body.required && idOf(operation) !== 'telemetry-remove'))
    found.push(withoutBody)
  if (idOf(operation) === 'telemetry-remove')
    found.push({
      ...withoutBody,
      path: addressOf(operation, device.id, { start_time: '-1h', stop_time: '-1m' }),
    })
  if (operation.who === 'read') found.push({ ...withoutBody, what: 'as an operator', headers: admin })
  for (const type of Object.keys(answers[status]?.content ?? {})) {
    const format = { 'text/csv': 'csv', 'application/x-ndjson': 'ndjson' }[type]
    if (format)
      for (const limit of ['1', '100'])
        found.push({ ...withoutBody, what: format, path: addressOf(operation, device.id, { format, limit }) })
  }
  if (parameters && 'limit' in parameters.shape)
    found.push({
      ...withoutBody,
      what: 'a first page',
      path: addressOf(operation, device.id, { limit: '1' }),
    })
  if (parameters && 'field' in parameters.shape)
    found.push({ ...withoutBody, what: 'every field', path: addressOf(operation, device.id, { field: '*' }) })
  return found
}

/** Requests that have to be refused, each in one way. */
const refusals = (
  operation: Operation,
  { device, other, inactive }: Record<'device' | 'other' | 'inactive', Caller>,
): Attempt[] => {
  const { body, parameters, who, path: shape } = operation
  const path = addressOf(operation, targetOf(operation, device))
  const own = credentials(operation, device)
  const example = Object.values(body?.examples ?? {})[0]
  const base = { path, headers: own, body: example }
  const found: Attempt[] = [{ ...base, what: 'another method', status: 405, method: 'PATCH' }]
  if (who !== 'none') {
    found.push({ ...base, what: 'without a credential', status: 401, headers: {} })
    const wrong = Object.fromEntries(
      Object.keys(own).map((name) => [name, name === 'Authorization' ? 'Bearer wrong' : 'A'.repeat(32)]),
    )
    found.push({ ...base, what: 'with a wrong credential', status: 401, headers: wrong })
  }
  if (idOf(operation) === 'system-health')
    found.push({
      ...base,
      what: 'with a wrong credential',
      status: 401,
      headers: { Authorization: 'Bearer wrong' },
    })
  if (who === 'device' || who === 'read')
    found.push({
      ...base,
      what: 'by an inactive device',
      status: 403,
      headers: { 'X-API-Key': inactive.key },
    })
  if (shape.includes('{id}')) {
    for (const id of ['999999', 'x', '0', '01'])
      found.push({ ...base, what: `of the id ${id}`, status: 404, path: addressOf(operation, id) })
    if (who === 'device' || who === 'read')
      found.push({ ...base, what: 'of another device', status: 404, path: addressOf(operation, other.id) })
  }
  if (body) {
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
  for (const name of Object.keys(parameters?.shape ?? {})) {
    // Of a device's type any text may be asked for, as long as it is short.
    const odd = { [name]: '\u0000'.repeat(200) }
    found.push({
      what: `an odd ${name}`,
      status: 422,
      path: addressOf(operation, device.id, odd),
      headers: own,
    })
  }
  if (operation.errors?.includes(409) && example !== undefined)
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

let machine: Machine
const seen = new Map<string, Set<number>>()

const register = async (on: Machine, name: string): Promise<Caller> => {
  const { status, body, text } = await on.request('POST', '/api/v1/devices/register', {
    headers: { 'X-Enrollment-Key': enrollmentKey },
    body: { name, device_type: 'sensor' },
  })
  expect(status, text).toBe(201)
  return { id: body.device.id, key: body.device.api_key }
}

/** A device with a past: readings, a configuration, events. */
const experienced = async (name: string): Promise<Caller> => {
  const device = await register(machine, name)
  const batch = [1, 2, 3].map((n) => ({
    values: { temperature: 20 + n, on: true, note: 'a' },
    age_ms: n * 1000,
  }))
  const one = { data: { temperature: 21 }, metadata: { place: 'north' } }
  for (const body of [batch, one])
    expect((await machine.request('POST', '/api/v1/telemetry', { key: device.key, body })).status).toBe(201)
  const key = { config_key: 'interval', config_value: 5, data_type: 'integer' }
  expect(
    (await machine.request('POST', '/api/v1/devices/config', { key: device.key, body: key })).status,
  ).toBe(200)
  return { ...device, letter: await machine.deadLetter(device.id, '{"temperature":21}') }
}

const tried = async (operation: Operation, attempt: Attempt): Promise<Answer> => {
  const answer = await send(machine, operation, attempt)
  check(operation, attempt, answer)
  const statuses = seen.get(idOf(operation)) ?? new Set()
  seen.set(idOf(operation), statuses.add(attempt.status))
  return answer
}

let other: Caller
let inactive: Caller

beforeAll(async () => {
  machine = await startMachine({ settings: { ...strict, ...unlimited, LOG_LEVEL: 'warn' } })
  other = await register(machine, 'other')
  inactive = await register(machine, 'inactive')
  const path = `/api/v1/admin/devices/${inactive.id}/status`
  const { status } = await machine.request('PUT', path, { headers: admin, body: { status: 'inactive' } })
  expect(status).toBe(200)
})
afterAll(() => machine?.stop())

it.each(operations.map((operation) => [`${operation.method} ${operation.path}`, operation] as const))(
  '%s answers as documented',
  async (_, operation) => {
    const device = await experienced(idOf(operation))
    for (const attempt of refusals(operation, { device, other, inactive })) await tried(operation, attempt)
    if (idOf(operation) === 'admin-replay-dead-letter') {
      const letters = [
        [400, device.id, '{"temperature":'],
        [409, 999_999, '{"temperature":21}'],
        [422, device.id, '[]'],
      ] as const
      for (const [status, id, payload] of letters) {
        const path = addressOf(operation, await machine.deadLetter(id, payload))
        await tried(operation, { what: payload, status, path, headers: admin })
      }
    }
    for (const attempt of successes(operation, device)) {
      const { headers: given } = await tried(operation, attempt)
      const tag = given.get('ETag')
      if (tag === null || operation.answers[304] === undefined) continue
      const again = { ...attempt, what: 'the version it has', status: 304 }
      await tried(operation, { ...again, headers: { ...attempt.headers, 'If-None-Match': tag } })
    }
  },
)

it('has no route without a function, an operation, and answers that were compared', async () => {
  const { routes, file } = await loadFunctions()
  const rows = routes.map(({ method, path, functionName }) => {
    const template = path.replaceAll(/:(\w+)/g, '{$1}')
    const operation = operations.find((one) => one.method === method && one.path === template)
    const described = (document.paths as Record<string, Record<string, { operationId: string }>>)[template]
    return [
      `${method} ${template}`,
      existsSync(file(functionName)) ? file(functionName) : '',
      described?.[method.toLowerCase()]?.operationId ?? '',
      [...((operation && seen.get(idOf(operation))) ?? [])].sort().join(' '),
    ]
  })
  const table = [['route', 'function', 'operation', 'answers compared with the document'], ...rows]
  const widths = [50, 38, 30, 0]
  console.log(table.map((row) => row.map((text, at) => text.padEnd(widths[at] ?? 0)).join(' ')).join('\n'))
  expect(rows.length).toBe(operations.length)
  expect(rows.filter((row) => row.includes('') || !/\b20[0-4]\b/.test(row[3] ?? ''))).toEqual([])
})

it('was seen to answer with every status that is documented, but those that take a fault or a crowd', () => {
  const missing = operations.flatMap((operation) => {
    const documented = [...Object.keys(operation.answers).map(Number), ...errorsOf(operation)]
    // 202 takes a store that is away.
    const rare = operation.body === undefined ? [400, 429, 500, 503] : [202, 429, 500, 503]
    return documented
      .filter((status) => !rare.includes(status) && !seen.get(idOf(operation))?.has(status))
      .map((status) => `${idOf(operation)} ${status}`)
  })
  expect(missing).toEqual([])
})

it('refuses a crowd as documented', async () => {
  const one = Object.fromEntries(Object.keys(unlimited).map((name) => [name, '1']))
  const crowded = await startMachine({ settings: { ...strict, ...one, LOG_LEVEL: 'error' } })
  try {
    const device = await register(crowded, 'crowd')
    for (const operation of operations) {
      const wrong = { Authorization: 'Bearer wrong' }
      const attempt: Attempt = {
        what: 'once too often',
        status: 429,
        path: addressOf(operation, device.id),
        headers: idOf(operation) === 'system-health' ? wrong : credentials(operation, device),
        body: Object.values(operation.body?.examples ?? {})[0],
      }
      await send(crowded, operation, attempt)
      check(operation, attempt, await send(crowded, operation, attempt))
    }
  } finally {
    await crowded.stop()
  }
})

it('says as documented that nobody set an admin token or an enrolment key', async () => {
  const settings = { ...unlimited, STAGE: 'dev', LOG_LEVEL: 'error' }
  const closed = await startMachine({ settings })
  try {
    for (const operation of operations.filter(({ who }) => who === 'admin' || who === 'enrol')) {
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
