/** `iotflow alert watch`: shows alerts as they open, are acknowledged, and are cleared. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { Answer, Api } from '../api.ts'
import { action, examples } from '../context.ts'
import { wholeNumber } from '../numbers.ts'
import type { Output } from '../output.ts'
import { alertPath, alertsPath, openAlerts } from './alert-output.ts'
import { conditionText, valueText } from './condition.ts'

interface Options {
  readonly count?: string
  readonly severity?: string
}

/** Time between two looks, ms: below the limit of requests of one address. */
const lookEveryMs = 2000

interface Change {
  readonly what: 'opened' | 'acknowledged' | 'cleared'
  readonly alert: Answer
}

const changesOf = (alert: Answer): Change[] => [
  { what: 'opened', alert },
  ...(alert.acknowledged_at === null ? [] : [{ what: 'acknowledged', alert } as const]),
  ...(alert.cleared_at === null ? [] : [{ what: 'cleared', alert } as const]),
]

/** What has changed since the last look. */
class Watch {
  readonly #server: Api
  readonly #severity: string | undefined
  #newest = 0
  #open = new Map<number, Answer>()

  constructor(server: Api, severity: string | undefined) {
    this.#server = server
    this.#severity = severity
  }

  /** Notes what there is already. */
  async begin(): Promise<void> {
    const { alerts } = await this.#server.get(alertsPath, { severity: this.#severity, limit: 1 })
    this.#newest = alerts[0]?.id ?? 0
    this.#open = new Map((await this.#openNow()).map((alert) => [alert.id, alert]))
  }

  /** @returns changes in the order of their alerts. */
  async look(): Promise<Change[]> {
    const added = await this.#added()
    const open = new Map((await this.#openNow()).map((alert) => [alert.id, alert]))
    const changes: Change[] = []
    for (const [id, before] of this.#open) {
      const alert = open.get(id) ?? (await this.#server.get(alertPath(id))).alert
      const known = changesOf(before).map(({ what }) => what)
      changes.push(...changesOf(alert).filter(({ what }) => !known.includes(what)))
    }
    for (const alert of added) changes.push(...changesOf(open.get(alert.id) ?? alert))
    this.#open = open
    return changes
  }

  /** Alerts that were not there at the last look, oldest first; also those that are cleared already. */
  async #added(): Promise<Answer[]> {
    const added: Answer[] = []
    for await (const alert of this.#server.pages(alertsPath, 'alerts', {
      severity: this.#severity,
      limit: 100,
    })) {
      if (alert.id <= this.#newest) break
      added.unshift(alert)
    }
    this.#newest = added.at(-1)?.id ?? this.#newest
    return added
  }

  /** Without those that opened since: the next look finds them. */
  async #openNow(): Promise<Answer[]> {
    const alerts = await openAlerts(this.#server, { severity: this.#severity })
    return alerts.filter(({ id }) => id <= this.#newest)
  }
}

const timeOf = ({ what, alert }: Change): string =>
  ({ opened: alert.opened_at, acknowledged: alert.acknowledged_at, cleared: alert.cleared_at })[what]

const print = (output: Output, change: Change): Promise<void> => {
  const { what, alert } = change
  if (output.isJson) return output.write(`${JSON.stringify(change)}\n`)
  const parts = [
    timeOf(change),
    what.padEnd('acknowledged'.length),
    String(alert.id),
    alert.severity,
    alert.rule_name,
    alert.device_name ?? `device ${alert.device_id}`,
    conditionText(alert.condition),
    ...(what === 'opened' && alert.opened_value !== null ? [valueText(alert.opened_value)] : []),
    ...(what === 'cleared' && alert.clear_reason !== 'condition' ? [alert.clear_reason] : []),
    ...(what === 'acknowledged' && alert.acknowledged_note !== null ? [alert.acknowledged_note] : []),
  ]
  return output.write(`${parts.join('  ').replaceAll(/\p{Cc}/gu, ' ')}\n`)
}

export const addWatchAlerts = (to: Command) =>
  to
    .command('watch')
    .description('shows alerts as they open, are acknowledged, and are cleared, until Ctrl-C')
    .option('--severity <severity>', 'critical, warning or info')
    .option('--count <number>', 'ends after so many lines')
    .addHelpText(
      'after',
      examples('iotflow alert watch', 'iotflow alert watch --severity critical --count 1 --json'),
    )
    .action(
      action(async ({ api, output }, { count, severity }: Options) => {
        const most = count === undefined ? Number.POSITIVE_INFINITY : wholeNumber('--count', count)
        const watch = new Watch(await api(), severity)
        await watch.begin()
        output.note('Watching alerts; Ctrl-C ends it.')
        for (let shown = 0; shown < most; ) {
          await sleep(lookEveryMs)
          for (const change of (await watch.look()).slice(0, most - shown)) {
            await print(output, change)
            shown += 1
          }
        }
      }),
    )
