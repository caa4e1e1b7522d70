/** Calls of AWS services that need no SDK: signed, in the JSON protocol, each with one try of its own. */
import { AwsClient } from 'aws4fetch'

export interface AwsAccess {
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string | undefined
}

/** What Lambda tells of the role of its function. */
export const accessOf = (environment: Readonly<Record<string, string | undefined>>): AwsAccess => ({
  region: environment.AWS_REGION ?? 'us-east-1',
  accessKeyId: environment.AWS_ACCESS_KEY_ID ?? '',
  secretAccessKey: environment.AWS_SECRET_ACCESS_KEY ?? '',
  sessionToken: environment.AWS_SESSION_TOKEN,
})

/** What the service said no with; the message holds its status only. */
export class AwsFault extends Error {
  override readonly name = 'AwsFault'
  readonly code: string
  constructor(target: string, status: number) {
    super(`${target}: status ${status}`)
    this.code = `HTTP_${status}`
  }
}

/**
 * @param service as in signatures: `ssm`, `sqs`.
 * @param timeoutMs of a call with all its tries.
 * @returns a call of an operation, `AmazonSSM.GetParameters`: its answer. It throws {@link AwsFault}, or what the network threw.
 */
export function createAwsCall(
  { region, accessKeyId, secretAccessKey, sessionToken }: AwsAccess,
  {
    service,
    endpoint,
    protocol,
    timeoutMs,
  }: {
    service: string
    endpoint: string
    protocol: '1.0' | '1.1'
    timeoutMs: number
  },
): <Answer>(target: string, body: object) => Promise<Answer> {
  const client = new AwsClient({
    accessKeyId,
    secretAccessKey,
    ...(sessionToken ? { sessionToken } : {}),
    service,
    region,
    retries: 2,
  })
  return async <Answer>(target: string, body: object) => {
    const response = await client.fetch(endpoint, {
      method: 'POST',
      headers: { 'Content-Type': `application/x-amz-json-${protocol}`, 'X-Amz-Target': target },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    })
    if (!response.ok) throw new AwsFault(target, response.status)
    return (await response.json()) as Answer
  }
}
