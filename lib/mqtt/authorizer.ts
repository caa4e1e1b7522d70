/** Request and response of an authorizer, in the shapes of an AWS IoT custom authorizer. Types only. */
import type { PolicyDocument } from './policy.ts'

/** The request of a broker, one per CONNECT. */
export interface AuthorizerEvent {
  readonly protocols?: readonly ('tls' | 'http' | 'mqtt')[]
  readonly protocolData?: {
    readonly mqtt?: {
      readonly username?: string
      /** Base64 of the bytes that the client sent. */
      readonly password?: string
      /** Empty when the client leaves the choice of its id to the broker. */
      readonly clientId?: string
    }
    readonly tls?: { readonly serverName?: string }
  }
  readonly connectionMetadata?: {
    /** Id of the connection, for log lines; it does not name the device. */
    readonly id: string
    /** Address of the client, as failed logins are counted; AWS does not tell it. */
    readonly address?: string
  }
}

/** The response. Every value of `isAuthenticated` but `true` refuses the connection. */
export interface AuthorizerResult {
  readonly isAuthenticated: boolean
  /** Names the client, 1–128 of `[A-Za-z0-9]`; here the device's id. */
  readonly principalId: string
  /** Time after which the broker ends the connection, 300–86400 s. */
  readonly disconnectAfterInSeconds: number
  /** Time after which AWS asks the authorizer again, 300–86400 s. */
  readonly refreshAfterInSeconds: number
  /** At most 10 documents, each of at most 2048 characters as JSON. */
  readonly policyDocuments: readonly (PolicyDocument | string)[]
}
