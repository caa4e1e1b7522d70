/** Calls of AWS services without an SDK: signed requests in the AWS JSON protocol or of its REST kind, with retries. */
import { AwsClient } from 'aws4fetch'

export interface AwsAccess {
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string | undefined
}

/** The region and the credentials that Lambda puts into the environment of a function. */
export const accessOf = (environment: Readonly<Record<string, string | undefined>>): AwsAccess => ({
  region: environment.AWS_REGION ?? 'us-east-1',
  accessKeyId: environment.AWS_ACCESS_KEY_ID ?? '',
  secretAccessKey: environment.AWS_SECRET_ACCESS_KEY ?? '',
  sessionToken: environment.AWS_SESSION_TOKEN,
})

/** An answer other than 2xx. It holds the operation, the status and the name of the error, because bodies may repeat secrets. */
export class AwsFault extends Error {
  override readonly name = 'AwsFault'
  /** `HTTP_<status>`. */
  readonly code: string
  /** The service's name for the error, such as `ThrottlingException`, which has status 400; undefined when it gave none. */
  readonly type: string | undefined
  constructor(operation: string, status: number, type?: string) {
    super(`${operation}: status ${status}${type === undefined ? '' : `, ${type}`}`)
    this.code = `HTTP_${status}`
    this.type = type
  }
}

/** The error's name in a body such as `{"__type":"com.amazonaws.ssm#ThrottlingException"}`. */
const typeOf = (body: string): string | undefined => /"__type"\s*:\s*"(?:[\w.]+#)?(\w{1,80})"/.exec(body)?.[1]

export interface AwsService {
  /** The service's name in signatures: `ssm`, `sqs`. */
  readonly service: string
  readonly endpoint: string
  /** Version of the JSON protocol. */
  readonly protocol: '1.0' | '1.1'
  /** Time for one call with its retries, ms. */
  readonly timeoutMs: number
}

/** Retries of a call after 5xx or 429; aws4fetch pauses at most 50 and 100 ms. */
const retries = 2

const signerFor = ({ region, accessKeyId, secretAccessKey, sessionToken }: AwsAccess, service: string) =>
  new AwsClient({
    accessKeyId,
    secretAccessKey,
    ...(sessionToken ? { sessionToken } : {}),
    service,
    region,
    retries,
  })

/**
 * Reads a resource of a service of the REST kind.
 * @param service its name in signatures: `iot` for AWS IoT.
 * @param timeoutMs for the read with its retries, ms.
 * @throws {AwsFault} or the error of the network.
 */
export async function readAws<Answer>(
  access: AwsAccess,
  service: string,
  url: string,
  timeoutMs: number,
): Promise<Answer> {
  const response = await signerFor(access, service).fetch(url, { signal: AbortSignal.timeout(timeoutMs) })
  if (!response.ok) throw new AwsFault(`GET of ${service}`, response.status)
  return (await response.json()) as Answer
}

/**
 * @returns a function that calls one operation, such as `AmazonSSM.GetParameters`, and resolves with its answer. It throws
 * {@link AwsFault}, or the error of the network.
 */
export function createAwsCall(
  access: AwsAccess,
  { service, endpoint, protocol, timeoutMs }: AwsService,
): <Answer>(operation: string, body: object) => Promise<Answer> {
  const client = signerFor(access, service)
  return async <Answer>(operation: string, body: object) => {
    const response = await client.fetch(endpoint, {
      method: 'POST',
      headers: { 'Content-Type': `application/x-amz-json-${protocol}`, 'X-Amz-Target': operation },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    })
    if (!response.ok) throw new AwsFault(operation, response.status, typeOf(await response.text()))
    return (await response.json()) as Answer
  }
}
