/** All fault scenarios by name, and their sizes. */
import { clockSetBack, diskFull, terminate } from './endings.ts'
import { killAgainAndAgain } from './kills.ts'
import { mosquitto } from './mosquitto.ts'
import { outages } from './outages.ts'
import { overload } from './overload.ts'
import { spooledKill } from './spooled.ts'
import type { Outcome } from './verdict.ts'

export interface Size {
  readonly kills: number
  /** Kills while the spool holds readings. */
  readonly spooledKills: number
  readonly terminations: number
  /** Kills of the server that runs the bridge to Mosquitto. */
  readonly bridgeKills: number
  /** Kills of Mosquitto. */
  readonly brokerKills: number
  /** Length of each outage, seconds. */
  readonly outageS: number
  /** Readings per second during an outage. */
  readonly rate: number
  /** Length of the flood, seconds. */
  readonly floodS: number
  /** Connections without requests; each needs one file descriptor. */
  readonly idle: number
  /** Devices that connect at the same moment. */
  readonly storm: number
  /** Whether rates and times of answers can fail a scenario: only where nothing else runs on the machine. */
  readonly judgesSpeed: boolean
}

export const sizes = {
  small: {
    kills: 3,
    spooledKills: 2,
    terminations: 2,
    bridgeKills: 2,
    brokerKills: 2,
    outageS: 3,
    rate: 300,
    floodS: 3,
    idle: 500,
    storm: 300,
    judgesSpeed: false,
  },
  normal: {
    kills: 20,
    spooledKills: 3,
    terminations: 5,
    bridgeKills: 10,
    brokerKills: 5,
    outageS: 15,
    rate: 1000,
    floodS: 10,
    idle: 10_000,
    storm: 2000,
    judgesSpeed: true,
  },
  full: {
    kills: 100,
    spooledKills: 10,
    terminations: 10,
    bridgeKills: 10,
    brokerKills: 10,
    outageS: 60,
    rate: 1000,
    floodS: 20,
    idle: 10_000,
    storm: 2000,
    judgesSpeed: true,
  },
} as const satisfies Record<string, Size>

type Scenario = (size: Size, progress: (text: string) => void) => Promise<Outcome[]>

export const scenarios: ReadonlyMap<string, Scenario> = new Map<string, Scenario>([
  ['outage', outages],
  ['terminate', async ({ terminations }, progress) => [await terminate(terminations, progress)]],
  ['clock', async (_size, progress) => [await clockSetBack(progress)]],
  ['disk', async (_size, progress) => [await diskFull(progress)]],
  ['overload', overload],
  ['mosquitto', mosquitto],
  ['spooled', async ({ spooledKills }, progress) => [await spooledKill(spooledKills, progress)]],
  ['kill', async ({ kills }, progress) => [await killAgainAndAgain(kills, progress)]],
])
