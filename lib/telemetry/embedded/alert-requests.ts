/** The requests of alerts and their rules, by name; those that judge readings are among the common ones. */
import {
  alertCountQueries,
  countLetters,
  type LetterCount,
  pruneAlertCounts,
  stopCountingLetters,
} from './alert-counts.ts'
import { alertFactQueries } from './alert-facts.ts'
import { alertPruning, crowdedDevices } from './alert-pruning.ts'
import { alertChanges, alertQueries } from './alert-queries.ts'
import { createRule, deleteRule, ruleQueries, updateRule } from './alert-rules-table.ts'
import { clearAlertsOfPairs } from './alert-states.ts'
import type { RequestTable } from './requests.ts'
import type { DatabaseSession } from './session.ts'

export const alertRequests = {
  queries: {
    ...ruleQueries,
    ...alertQueries,
    ...alertCountQueries,
    ...alertFactQueries,
    crowdedDevices,
  },
  changes: {
    createAlertRule: createRule,
    updateAlertRule: updateRule,
    deleteAlertRule: deleteRule,
    ...alertChanges,
    ...alertPruning,
    clearPairs: (
      session: DatabaseSession,
      { pairs, now }: { pairs: readonly (readonly [device: number, rule: number])[]; now: bigint },
    ) => {
      session.steady.forget(pairs.map(([device]) => device))
      return session.write(() => clearAlertsOfPairs(pairs, now))
    },
    countLetters: (
      session: DatabaseSession,
      { from, to, counts }: { from: number | undefined; to: number; counts: readonly LetterCount[] },
    ) => session.write(() => countLetters(from, to, counts)),
    stopCountingLetters: async (session: DatabaseSession, _args: object) => {
      await session.execute(stopCountingLetters)
    },
    /** @returns whether there may be more. */
    pruneAlertCounts: async (
      session: DatabaseSession,
      { kind, before, most }: { kind: string; before: number; most: number },
    ) => (await session.execute(pruneAlertCounts(kind, before, most))).length === most,
  },
} satisfies RequestTable
