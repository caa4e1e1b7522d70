/** Apart from the tables of alerts, which only a deployment makes: the bundles of the cloud hold none of their SQL. */

/** States of a rule at a device. `pending`: a breach that has not lasted long enough; `clearing`: the same of its end. */
export const alertStates = { ok: 0, pending: 1, open: 2, clearing: 3 } as const
