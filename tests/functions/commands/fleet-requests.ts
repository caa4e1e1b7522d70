/** Requests about fleet commands, as operators send them. */
import type { CallOptions, TestFunctions } from '../../support/functions.ts'

export const fleetAddress = '/api/v1/admin/fleet/commands'

export const send = (functions: TestFunctions, body: unknown, options: CallOptions = { admin: true }) =>
  functions.call('commands-fleet-send', 'POST', fleetAddress, { body, ...options })

/** Sends a command to some devices. @returns its id. */
export const sent = async (functions: TestFunctions, ids: readonly number[], more: object = {}) =>
  (await send(functions, { command: 'ping', filter: { ids }, ...more })).json.fleet_command_id as string

export const showFleet = (functions: TestFunctions, id: string, query = '') =>
  functions.call('commands-fleet-show', 'GET', `${fleetAddress}/${id}${query}`, { admin: true })

export const cancelFleet = (functions: TestFunctions, id: string, options: CallOptions = { admin: true }) =>
  functions.call('commands-fleet-cancel', 'DELETE', `${fleetAddress}/${id}`, options)
