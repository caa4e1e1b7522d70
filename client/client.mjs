/** A client of the HTTP API, for Node and browsers. Its types are those of the OpenAPI document. */
import createFetchClient from 'openapi-fetch'

const headersOf = ({ apiKey, adminToken, enrollmentKey }) => ({
  ...(apiKey === undefined ? {} : { 'X-API-Key': apiKey }),
  ...(adminToken === undefined ? {} : { Authorization: `Bearer ${adminToken}` }),
  ...(enrollmentKey === undefined ? {} : { 'X-Enrollment-Key': enrollmentKey }),
})

export function createClient({ url, fetch, ...credentials }) {
  return createFetchClient({
    baseUrl: url,
    headers: headersOf(credentials),
    ...(fetch === undefined ? {} : { fetch }),
  })
}

export class RequestError extends Error {
  name = 'RequestError'

  constructor(status, { code, message, request_id: requestId, details = [] }) {
    super(message)
    Object.assign(this, { status, code, requestId, details })
  }
}

export async function answerOf(call) {
  const { data, error, response } = await call
  if (response.ok) return data
  // A proxy in front of the server may answer with another body.
  const given = typeof error === 'object' ? error?.error : undefined
  throw new RequestError(
    response.status,
    given ?? { code: `HTTP_${response.status}`, message: `The server answered ${response.status}.` },
  )
}
