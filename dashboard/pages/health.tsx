/** Health: whether telemetry can be taken, check by check. */
import { useEffect } from 'preact/hooks'
import type { HealthAnswer } from '../answers.ts'
import { call } from '../api.ts'
import { localTime, span } from '../format.ts'
import { useResource } from '../resource.ts'
import { Button } from '../ui/button.tsx'
import { Icon, type IconName } from '../ui/icon.tsx'
import { Card, PageHead } from '../ui/layout.tsx'
import { ErrorNotice, Loading } from '../ui/states.tsx'
import { StatusBadge } from '../ui/status.tsx'

/** The server probes its parts at most this often, ms. */
const askEveryMs = 15_000
/** A clock that differs by less is right enough for ages, s. */
const clockToleranceS = 5

const meanings: Readonly<Record<string, string>> = {
  registry: 'The database of devices, keys, configurations and dead letters',
  telemetry: 'The store of readings',
  queries: 'Reading what is stored',
  clock: 'The clock of the server',
  transport: 'Encryption on the way to the server',
}

const sentences: Readonly<Record<HealthAnswer['status'], { text: string; icon: IconName }>> = {
  healthy: { text: 'Everything works', icon: 'check' },
  degraded: { text: 'Telemetry is taken, but something needs your attention', icon: 'alert' },
  unhealthy: { text: 'Telemetry cannot be taken', icon: 'alert' },
}

interface Asked {
  readonly health: HealthAnswer
  /** How far the clock of this browser is ahead of the server's, s. */
  readonly aheadS: number
}

const Checks = ({ checks }: { checks: NonNullable<HealthAnswer['checks']> }) => (
  <ul class="checks">
    {Object.entries(checks).map(([name, { status, message }]) => (
      <li key={name}>
        <div>
          <h3>{name}</h3>
          <p class="small muted">{meanings[name] ?? ''}</p>
          {message && <p class={`small check-${status}`}>{message}</p>}
        </div>
        <StatusBadge status={status} />
      </li>
    ))}
  </ul>
)

const clockSentence = (aheadS: number) =>
  Math.abs(aheadS) < clockToleranceS
    ? 'agrees with the server'
    : `is ${span(Math.abs(aheadS))} ${aheadS > 0 ? 'ahead of' : 'behind'} the server: ages on these pages are off by that`

const Verdict = ({ health, aheadS }: Asked) => {
  const { text, icon } = sentences[health.status]
  return (
    <div class="stack">
      <div class={`verdict ${health.status}`} role="status">
        <Icon name={icon} />
        <p>{text}</p>
      </div>
      <Card title="Checks">
        {health.checks ? (
          <Checks checks={health.checks} />
        ) : (
          <p class="muted">The server shows no details.</p>
        )}
      </Card>
      <Card title="Server">
        <dl class="facts">
          <dt>Version</dt>
          <dd>{health.version}</dd>
          <dt>Its time</dt>
          <dd>{localTime(health.timestamp)}</dd>
          <dt>This browser's clock</dt>
          <dd>{clockSentence(aheadS)}</dd>
        </dl>
      </Card>
    </div>
  )
}

export const HealthPage = () => {
  const asked = useResource('health', async (signal) => {
    const before = Date.now()
    // An unhealthy server answers 503 with its checks.
    const answer = await call<HealthAnswer>('GET', '/health', {
      query: { detailed: true },
      alsoOk: 503,
      signal,
    })
    if (!answer.ok) return answer
    const serverTime = Date.parse(answer.value.timestamp)
    return {
      ...answer,
      value: { health: answer.value, aheadS: ((before + Date.now()) / 2 - serverTime) / 1000 },
    }
  })
  useEffect(() => {
    const timer = setInterval(asked.reload, askEveryMs)
    return () => clearInterval(timer)
  }, [])
  return (
    <>
      <PageHead
        title="Health"
        lead="Refreshed every 15 s."
        actions={
          <Button icon="replay" busy={asked.loading} onClick={asked.reload}>
            Check again
          </Button>
        }
      />
      {asked.error && <ErrorNotice error={asked.error} onRetry={asked.reload} />}
      {asked.value ? <Verdict {...asked.value} /> : !asked.error && <Loading lines={5} />}
    </>
  )
}
