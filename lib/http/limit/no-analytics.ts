/** Replaces the analytics of `@upstash/ratelimit` in the bundles of the cloud: they are switched off. */
export class Analytics {}
