import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { deploymentSettings } from '../cloud/plugin/stage-settings.ts'
import { settingNames } from '../lib/config.ts'
import { secretSettings } from '../lib/lambda/secrets.ts'

const names = [...settingNames].sort()

it('explains every setting in .env.example, each commented out', () => {
  const text = readFileSync('.env.example', 'utf8')
  const found = [...text.matchAll(/^#([A-Z][A-Z0-9_]+)=/gm)].map(([, name]) => name)
  expect(found.sort()).toEqual(names)
  expect(text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))).toEqual([])
})

it('lists every setting in docs/settings.md', () => {
  const table = readFileSync('docs/settings.md', 'utf8')
  const found = table
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => [...(line.split('|')[1] ?? '').matchAll(/`([A-Z0-9_]+)`/g)].map(([, name]) => name))
  expect(found.sort()).toEqual([...names, ...deploymentSettings].sort())
})

/** No deployed function goes by them. */
const oneMachineOnly = [
  ...['HOST', 'PORT', 'MQTT_PORT', 'MQTT_WS_PORT', 'MQTT_TLS_PORT', 'TLS_CERT', 'TLS_KEY', 'TRUST_PROXY'],
  ...[
    'DATA_DIR',
    'SPOOL_MAX_BYTES',
    'SPOOL_MAX_AGE_S',
    'REDIS_URL',
    'BACKUP_DIR',
    'BACKUP_EVERY_H',
    'BACKUP_KEEP',
  ],
  ...['MQTT_URL', 'MQTT_USERNAME', 'MQTT_PASSWORD', 'METRICS_TOKEN'],
]

it('hands every setting of a deployed function to it', () => {
  const { provider } = parse(readFileSync('serverless.yml', 'utf8')) as {
    provider: { environment: Record<string, string> }
  }
  const { SECRETS_PATH, ...environment } = provider.environment
  expect(SECRETS_PATH).toBeDefined()
  // Lambda sets the region itself.
  const found = [...Object.keys(environment), ...secretSettings, ...oneMachineOnly, 'AWS_REGION']
  expect(found.sort()).toEqual(names)
})
