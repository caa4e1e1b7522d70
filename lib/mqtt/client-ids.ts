/** Client ids: which device one names, and in which stage it may be used. */
import { deployedStages } from '../stages.ts'

/** Characters of a client id, as on AWS IoT Core. */
export const maxClientIdLength = 128
const clientIdCharacters = /^[A-Za-z0-9_.:-]+$/
const digitsOnly = /^\d+$/

/**
 * The device that a client id names: its first part of digits only, where `-` and `_` end a part. `7`, `esp32_7` and
 * `iotflow-device-7-boot3` name device 7. Undefined for a client id that no device may use.
 */
export function deviceOfClientId(clientId: string): number | undefined {
  if (clientId.length > maxClientIdLength || !clientIdCharacters.test(clientId)) return undefined
  const digits = clientId.split(/[-_]/).find((part) => digitsOnly.test(part))
  return digits !== undefined && /^[1-9]\d{0,14}$/.test(digits) ? Number(digits) : undefined
}

const otherStages: ReadonlySet<string> = new Set(deployedStages.filter((stage) => stage !== 'prod'))

/** True when `dev` or `staging` stands before the device's id, as in every client id of those stages. */
const isOfOtherStage = (clientId: string): boolean => {
  const parts = clientId.split(/[-_]/)
  const end = parts.findIndex((part) => digitsOnly.test(part))
  return parts.slice(0, end < 0 ? undefined : end).some((part) => otherStages.has(part))
}

/**
 * The client ids of one stage. AWS IoT Core has one name space of client ids for an account: under the same one, a device of
 * one stage would throw off a device of another, and the events of its connection would count for both.
 */
export class ClientIds {
  /** What every client id of this stage begins with. */
  readonly #prefix: string
  readonly #isProd: boolean

  /**
   * @param root TOPIC_ROOT, which ends with the name of the stage in every one but prod.
   * @param stage undefined where no other stage uses the broker: all client ids are its own.
   */
  constructor(root: string, stage: string | undefined) {
    this.#isProd = stage === 'prod'
    this.#prefix = stage === undefined || this.#isProd ? '' : `${root}-`
  }

  /** The client id that a device should use. */
  suggestedFor(deviceId: number): string {
    return `${this.#prefix || 'iotflow-'}device-${deviceId}`
  }

  /** The device that a client id names; undefined for one that no device of this stage may use. */
  deviceOf(clientId: string): number | undefined {
    if (!clientId.startsWith(this.#prefix) || (this.#isProd && isOfOtherStage(clientId))) return undefined
    // The root has no part of digits only: the first one is the device's.
    return deviceOfClientId(clientId)
  }
}
