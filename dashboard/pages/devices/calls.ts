/** Changes of one device. */
import { post, put, remove } from '../../api.ts'
import type { Status } from './answers.ts'

export interface RotatedKey {
  readonly api_key: string
  readonly previous_key_expires_at: string | null
}

export const setStatus = (id: number, status: Status) =>
  put<unknown>(`admin/devices/${id}/status`, { status })

/** @param graceS seconds that the newest of the old keys stays valid. */
export const rotateKey = (id: number, graceS: number) =>
  post<RotatedKey>(`admin/devices/${id}/rotate-key`, { grace_s: graceS })

/** @param prefix of the one key to end; all of them if left out. */
export const revokeKeys = (id: number, prefix?: string) =>
  post<{ revoked_keys: number }>(
    `admin/devices/${id}/revoke-key`,
    prefix === undefined ? {} : { key_prefix: prefix },
  )

/** With a `deletion_id` where the server goes on to delete its readings after the answer. */
export const deleteDevice = (id: number, withTelemetry: boolean) =>
  remove<{ deletion_id?: number }>(`admin/devices/${id}`, { telemetry: withTelemetry })

/** How long an old key may stay valid after a rotation: seconds, as text for a select. */
export const graces = [
  ['86400', 'for a day'],
  ['604800', 'for a week'],
  ['3600', 'for an hour'],
  ['0', 'not at all'],
] as const
