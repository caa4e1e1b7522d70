/**
 * The device that is being connected, with its key. As the admin token it is kept in the sessionStorage of this tab, so that
 * loading the page anew loses nothing; with that token anybody could make a new key anyway. It is forgotten at the end of the
 * session, and when another device is connected.
 */
import { effect, signal } from '@preact/signals'
import type { ImportAnswer, MqttCredentials } from '../../answers.ts'
import { type ApiError, get, post } from '../../api.ts'
import { session } from '../../session.ts'

export interface Connected {
  readonly id: number
  readonly name: string
  readonly apiKey: string
  readonly mqtt: MqttCredentials | undefined
}

const storageName = 'iotflow.connected-device'

const read = (): Connected | undefined => {
  const text = sessionStorage.getItem(storageName)
  try {
    return text === null ? undefined : (JSON.parse(text) as Connected)
  } catch {
    return undefined
  }
}

const current = signal(read())

/** Undefined while no device is being connected. */
export const connected = (): Connected | undefined => current.value

export function setConnected(device: Connected | undefined): void {
  if (device === undefined) sessionStorage.removeItem(storageName)
  else sessionStorage.setItem(storageName, JSON.stringify(device))
  current.value = device
}

// Nobody is signed in yet when this file is loaded: only the end of a session counts.
let wasSignedIn = false
effect(() => {
  const isSignedIn = session.token.value !== undefined
  if (wasSignedIn && !isSignedIn) setConnected(undefined)
  wasSignedIn = isSignedIn
})

/** An error of one row of an import, in the form of other errors: `name is taken; location must be …`. */
export const rowError = (reason: string): ApiError => {
  const details = reason.split('; ').flatMap((part) => {
    const [, path, message] = /^([a-z_]+) (.+)$/.exec(part) ?? []
    return path === undefined || message === undefined ? [] : [{ path, message }]
  })
  return {
    status: 422,
    code: 'VALIDATION_FAILED',
    message: reason,
    details,
    requestId: undefined,
    retryAfterS: undefined,
  }
}

/** Registers as an operator: an import of one row needs no enrolment key. @param body the fields of the device. */
export async function register(body: object): Promise<Connected | ApiError> {
  const answer = await post<ImportAnswer>('admin/devices/import', `${JSON.stringify(body)}\n`, {
    contentType: 'application/x-ndjson',
  })
  if (!answer.ok) return answer.error
  const [key] = answer.value.keys
  if (key === undefined) return rowError(answer.value.errors[0]?.reason ?? 'The device was not registered.')
  // Not by the key of the device: that would count as its first use.
  const topics = await get<{ credentials: MqttCredentials }>(`mqtt/topics/device/${key.id}`)
  return {
    id: key.id,
    name: key.name,
    apiKey: key.api_key,
    mqtt: topics.ok ? topics.value.credentials : undefined,
  }
}
