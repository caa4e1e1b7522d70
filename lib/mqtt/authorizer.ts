/** What a broker asks an authorizer and what it is answered: the shapes of an AWS IoT custom authorizer. Types only. */
import type { PolicyDocument } from './policy.ts'

/** The question, one per CONNECT. */
export interface AuthorizerEvent {
  readonly protocols?: readonly ('tls' | 'http' | 'mqtt')[]
  readonly protocolData?: {
    readonly mqtt?: {
      readonly username?: string
      /** Base64 of the bytes the client sent. */
      readonly password?: string
      /** Empty when the client leaves the choice to the broker. */
      readonly clientId?: string
    }
    readonly tls?: { readonly serverName?: string }
  }
  readonly connectionMetadata?: {
    /** The connection, not the device; for log lines. */
    readonly id: string
  }
}

/** The answer. Anything but `isAuthenticated: true` refuses the connection, whatever else it says. */
export interface AuthorizerResult {
  readonly isAuthenticated: boolean
  /** Who this is, 1–128 of `[A-Za-z0-9]`; here the device's id. */
  readonly principalId: string
  /** When the broker ends the connection, 300–86400. */
  readonly disconnectAfterInSeconds: number
  /** When AWS asks again, 300–86400. */
  readonly refreshAfterInSeconds: number
  /** At most 10, each of at most 2048 characters as JSON. */
  readonly policyDocuments: readonly (PolicyDocument | string)[]
}
