/** The domain configuration of AWS IoT Core by which the devices of a stage connect. */
import { AppError } from '../errors.ts'
import { type AwsAccess, readAws } from '../lambda/aws.ts'
import { memoizeFor } from '../memoize-for.ts'

/** Where the domain configuration can be read. */
export interface IotDomainSettings extends AwsAccess {
  /** Its name. */
  readonly name: string
  /** URL of the control plane of AWS IoT. */
  readonly controlPlane: string
}

export interface IotDomain {
  /** The host that devices name in the TLS handshake. */
  readonly host: string
  /** True where every port is one for MQTT: a client needs no ALPN. */
  readonly isMqttOnly: boolean
  /** The authorizer that it asks. */
  readonly authorizer: string | undefined
}

interface Answer {
  readonly domainName?: string
  readonly domainConfigurationStatus?: string
  readonly applicationProtocol?: string
  readonly authorizerConfig?: { readonly defaultAuthorizerName?: string }
}

/** Time for one read, and how long its answer counts, ms: the host of a domain configuration never changes. */
const timeoutMs = 4000
const keptMs = 60_000

/**
 * A domain configuration that AWS manages has a host that AWS picks and CloudFormation does not tell, so it is read from AWS IoT.
 * @returns a function that rejects with {@link AppError} UNAVAILABLE when the domain configuration cannot be read or is disabled.
 */
export function iotDomainReader({
  name,
  controlPlane,
  ...access
}: IotDomainSettings): () => Promise<IotDomain> {
  const unavailable = (cause?: unknown) =>
    new AppError('UNAVAILABLE', 'The address of the MQTT broker is not known at the moment.', {
      retryAfterS: 60,
      cause,
    })
  const url = `${controlPlane.replace(/\/$/, '')}/domainConfigurations/${encodeURIComponent(name)}`
  return memoizeFor(keptMs, async () => {
    const answer = await readAws<Answer>(access, 'iot', url, timeoutMs).catch((error: unknown) => {
      throw unavailable(error)
    })
    if (!answer.domainName || answer.domainConfigurationStatus === 'DISABLED') throw unavailable()
    return {
      host: answer.domainName,
      isMqttOnly: answer.applicationProtocol === 'SECURE_MQTT',
      authorizer: answer.authorizerConfig?.defaultAuthorizerName,
    }
  })
}
