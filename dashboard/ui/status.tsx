/** Badges: a colour and always a word, because not everybody sees the colour. */
import type { ComponentChildren } from 'preact'

export type Tone = 'good' | 'warn' | 'bad' | 'neutral' | 'accent'

export const Badge = ({ tone = 'neutral', children }: { tone?: Tone; children: ComponentChildren }) => (
  <span class={`badge ${tone}`}>{children}</span>
)

const toneOfStatus: Readonly<Record<string, Tone>> = {
  active: 'good',
  inactive: 'neutral',
  maintenance: 'warn',
  healthy: 'good',
  ok: 'good',
  degraded: 'warn',
  warning: 'warn',
  unhealthy: 'bad',
  failed: 'bad',
  unavailable: 'bad',
}

/** The status of a device, a store or a check, as the API names it. */
export const StatusBadge = ({ status }: { status: string }) => (
  <Badge tone={toneOfStatus[status] ?? 'neutral'}>{status}</Badge>
)

/** Whether something is connected now. */
export const OnlineDot = ({ online, label }: { online: boolean; label?: string }) => (
  <span class={`online ${online ? 'yes' : 'no'}`}>
    <span class="dot" aria-hidden="true" />
    {label ?? (online ? 'online' : 'offline')}
  </span>
)
