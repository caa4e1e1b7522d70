/** Requests about commands, as operators and devices send them. */
import type { CallOptions, TestFunctions } from '../../support/functions.ts'

export const addressOf = (id: number | string, commandId?: string) =>
  `/api/v1/admin/devices/${id}/commands${commandId === undefined ? '' : `/${commandId}`}`

export const create = (
  functions: TestFunctions,
  id: number | string,
  body: unknown = { command: 'restart' },
  options: CallOptions = { admin: true },
) => functions.call('commands-create', 'POST', addressOf(id), { body, ...options })

/** Creates a command. @returns its id. */
export const created = async (functions: TestFunctions, id: number, body?: unknown): Promise<string> =>
  (await create(functions, id, body)).json.command_id as string

export const show = (functions: TestFunctions, id: number | string, commandId: string) =>
  functions.call('commands-show', 'GET', addressOf(id, commandId), { admin: true })

export const list = (functions: TestFunctions, id: number | string, query = '') =>
  functions.call('commands-list', 'GET', `${addressOf(id)}${query}`, { admin: true })

export const cancel = (functions: TestFunctions, id: number | string, commandId: string) =>
  functions.call('commands-cancel', 'DELETE', addressOf(id, commandId), { admin: true })

export const poll = (functions: TestFunctions, key: string, query = '') =>
  functions.call('commands-poll', 'GET', `/api/v1/devices/commands${query}`, { key })

export const answer = (functions: TestFunctions, key: string, commandId: string, body: unknown) =>
  functions.call('commands-answer', 'POST', `/api/v1/devices/commands/${commandId}`, { key, body })
