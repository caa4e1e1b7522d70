/** What happened to a device, in words. */
import { reasonOf } from '../lib/devices/event-words.ts'
import type { FleetEvent } from './answers.ts'
import { span } from './format.ts'
import type { Tone } from './ui/status.tsx'

type Detail = FleetEvent['detail']

const text = (value: unknown) => (typeof value === 'string' || typeof value === 'number' ? String(value) : '')
const list = (value: unknown) => (Array.isArray(value) ? value.map(String).join(', ') : '')
const after = (value: unknown, before: string) => (text(value) === '' ? '' : `${before}${text(value)}`)
const by = (detail: Detail) => after(detail?.by, ' by ')

/** Why a device went offline, in fewer words than the API has. */
const offlineReason = (detail: Detail) => {
  if (detail?.by === 'device') return 'disconnected'
  if (detail?.by === 'silence' && typeof detail.silent_s === 'number')
    return `silent for ${span(detail.silent_s)}`
  return reasonOf({ kind: 'offline', detail })
}

/** One sentence for each kind, without the name of the device: `went offline: keep-alive timeout`. */
const sentences: Readonly<Record<FleetEvent['kind'], (detail: Detail) => string>> = {
  registered: () => 'was registered',
  updated: (detail) => `was changed${by(detail)}${after(list(detail?.fields), ': ')}`,
  status: (detail) => `went from ${text(detail?.from)} to ${text(detail?.to)}${by(detail)}`,
  key_rotated: (detail) => `got a new key${after(detail?.key_prefix, ' ')}${by(detail)}`,
  key_revoked: (detail) => `lost its key${after(list(detail?.key_prefixes), ' ')}`,
  key_expiring: (detail) => `has a key that expires soon${after(detail?.key_prefix, ': ')}`,
  key_expired: (detail) => `has a key that expired${after(detail?.key_prefix, ': ')}`,
  configuration: (detail) => `got configuration${after(detail?.version, ' version ')}${by(detail)}`,
  configuration_reported: (detail) => `applied configuration${after(detail?.version, ' version ')}`,
  online: () => 'came online',
  offline: (detail) => `went offline${after(offlineReason(detail), ': ')}`,
  warning: (detail) =>
    `sent readings with a warning${after(detail?.code, ': ')}${after(list(detail?.paths), ' at ')}`,
  login_failed: (detail) =>
    `could not log in${after(detail?.reason, ': ')}${after(detail?.address, ', from ')}${after(detail?.client_id, ', client id ')}`,
}

/** @param count how often it happened, for an event that repeats. */
export const eventSentence = (kind: FleetEvent['kind'], detail: Detail, count = 1): string => {
  // A page that was open during an update of the server may not know every kind.
  const sentence = sentences[kind]?.(detail) ?? String(kind).replaceAll('_', ' ')
  return count === 1 ? sentence : `${sentence} (${count.toLocaleString()} times)`
}

const tones: Partial<Record<FleetEvent['kind'], Tone>> = {
  key_expiring: 'warn',
  key_expired: 'bad',
  online: 'good',
  registered: 'accent',
  offline: 'neutral',
  warning: 'warn',
  login_failed: 'bad',
  key_revoked: 'warn',
  key_rotated: 'accent',
}

/** The colour of the event in lists. */
export const eventTone = (kind: FleetEvent['kind']): Tone => tones[kind] ?? 'accent'
