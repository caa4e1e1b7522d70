/** The settings of a stage that is deployed: those of the environment, then those of `.env.<stage>`. No other file is read. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseEnv } from 'node:util'
import { settingNames } from '../../lib/config.ts'
import { secretSettings } from '../../lib/lambda/secrets.ts'
import { root } from '../../lib/root.ts'

export const stages = ['dev', 'staging', 'prod'] as const
export type DeployedStage = (typeof stages)[number]

/** Settings of the deployment itself, which no function reads. */
export const deploymentSettings = ['ALARM_EMAIL', 'AWS_ACCOUNT_ID', 'INGEST_MODE'] as const

/** Settings of the functions that follow from the stage: what an operator says of them has no effect. */
export const settingsOfStage = [
  'IOT_DOMAIN_CONFIGURATION',
  'SPOOL_QUEUE_URL',
  'WEBHOOK_QUEUE_URL',
  'STAGE',
] as const

export interface StageSetting {
  readonly value: string
  /** `environment`, or the name of the file. */
  readonly source: string
}

export type StageSettings = Readonly<Record<string, StageSetting>>

export const fileOf = (stage: string): string => `.env.${stage}`

const readFile = (path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}

/** @throws {Error} one sentence for a stage that cannot be deployed. */
export function parseStage(stage: unknown): DeployedStage {
  const known = stages.find((one) => one === stage)
  if (known !== undefined) return known
  throw new Error(
    `--stage must be dev, staging or prod${stage === undefined ? '' : `, not ${String(stage)}`}: the functions of any other stage would not start.`,
  )
}

/**
 * What this stage is deployed with; an empty setting counts as absent.
 * @param environment its settings go first.
 * @param folder of `.env.<stage>`.
 */
export function readStageSettings(
  stage: string,
  environment: Readonly<Record<string, string | undefined>>,
  folder = fileURLToPath(root),
): { settings: StageSettings; namesInFile: readonly string[] } {
  const file = parseEnv(readFile(`${folder}/${fileOf(stage)}`)) as Record<string, string>
  const settings: Record<string, StageSetting> = {}
  for (const name of [...settingNames, ...deploymentSettings]) {
    const [given, written] = [environment[name], file[name]]
    if (given) settings[name] = { value: given, source: 'environment' }
    else if (written) settings[name] = { value: written, source: fileOf(stage) }
  }
  // Secrets are in the parameter store, whatever the shell of the operator holds; the stage is that of --stage.
  for (const name of [...secretSettings, ...settingsOfStage]) delete settings[name]
  return { settings, namesInFile: Object.keys(file).sort() }
}
