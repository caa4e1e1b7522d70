/** The secrets of a stage in the SSM parameter store, as a deployment reads them. */
import { type AwsAccess, AwsFault, createAwsCall } from '../../lib/lambda/aws.ts'
import { secretSettings } from '../../lib/lambda/secrets.ts'

export interface Parameter {
  readonly value: string
  /** `SecureString`, `String` or `StringList`. */
  readonly type: string
  readonly version: number
}

interface Answer {
  readonly Parameters?: readonly {
    readonly Name: string
    readonly Value: string
    readonly Type: string
    readonly Version: number
  }[]
}

/** ms; nobody waits but the operator. */
const timeoutMs = 60_000

/**
 * Reads the secrets below a path. @returns those that there are, by their names.
 * @throws {Error} one sentence, without a secret.
 */
export async function readParameters(
  access: AwsAccess,
  path: string,
  endpoint = `https://ssm.${access.region}.amazonaws.com/`,
): Promise<ReadonlyMap<string, Parameter>> {
  const call = createAwsCall(access, { service: 'ssm', endpoint, protocol: '1.1', timeoutMs })
  const names = secretSettings.map((name) => `${path}/${name}`)
  const { Parameters = [] } = await call<Answer>('AmazonSSM.GetParameters', {
    Names: names,
    WithDecryption: true,
  }).catch((error: unknown) => {
    if (!(error instanceof AwsFault))
      throw new Error(
        `The parameter store does not answer (${(error as Error).message}): check --region and the network.`,
      )
    throw new Error(
      `The parameters below ${path} could not be read (${error.type ?? error.code}): who deploys needs ssm:GetParameters on them, and kms:Decrypt on a key of your own.`,
    )
  })
  return new Map(
    Parameters.map(({ Name, Value, Type, Version }) => [
      Name.slice(path.length + 1),
      { value: Value, type: Type, version: Version },
    ]),
  )
}
