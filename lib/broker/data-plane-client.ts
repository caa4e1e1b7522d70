/** The client of the broker's data plane: that of AWS IoT, or the local one with the same protocol. */
import { IoTDataPlaneClient } from '@aws-sdk/client-iot-data-plane'

/** The address of the data plane. */
export interface DataPlaneOptions {
  /** A URL; for AWS IoT Core `https://<id>-ats.iot.<region>.amazonaws.com`. */
  endpoint: string
  region: string
  /** Undefined: the SDK looks for some, which it cannot in the bundles of the cloud. */
  credentials?: { accessKeyId: string; secretAccessKey: string; sessionToken?: string } | undefined
}

/** Time-outs of one attempt, ms; two attempts fit into the time of a function that publishes. */
const requestTimeoutMs = 3000
const connectionTimeoutMs = 2000
const maxAttempts = 2

/** Each operation is a file of its own, so that a function's bundle shows which of them it may call. */
export const createDataPlaneClient = ({
  endpoint,
  region,
  credentials,
}: DataPlaneOptions): IoTDataPlaneClient =>
  new IoTDataPlaneClient({
    endpoint,
    region,
    ...(credentials === undefined ? {} : { credentials }),
    maxAttempts,
    requestHandler: { requestTimeout: requestTimeoutMs, connectionTimeout: connectionTimeoutMs },
  })
