import { describe, expect, it } from 'vitest'
import {
  type Deployment,
  describeDeployment,
  neededSecrets,
  parameterProblems,
  settingProblems,
} from '../../../cloud/plugin/checks.ts'
import type { Parameter } from '../../../cloud/plugin/parameters.ts'
import type { StageSettings } from '../../../cloud/plugin/stage-settings.ts'

const needed = {
  DATABASE_URL: 'libsql://iotflow.example.com',
  IOT_ENDPOINT: 'a1-ats.iot.eu-central-1.amazonaws.com',
}
const complete = { ...needed, UPSTASH_REDIS_REST_URL: 'https://upstash.example.com' }
const unlimited = {
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
  RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
  RATE_LIMIT_IP_PER_MINUTE: '0',
}

const settingsOf = (values: Readonly<Record<string, string>>): StageSettings =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { value, source: 'environment' }]))

const deploymentOf = (
  values: Readonly<Record<string, string>>,
  more: Partial<Deployment> = {},
): Deployment => ({
  stage: 'dev',
  region: 'eu-central-1',
  settings: settingsOf(values),
  namesInFile: [],
  deployed: ['DATABASE_URL', 'LOG_LEVEL', 'SPOOL_QUEUE_URL', 'IOT_DOMAIN_CONFIGURATION'],
  derived: {},
  confirmedOpen: '',
  awsEndpoint: undefined,
  ...more,
})

const namesOf = (problems: readonly string[]) => problems.map((sentence) => sentence.split(' ')[0])

describe('the settings of a deployment', () => {
  it.each<[string, Record<string, string>, string[]]>([
    ['nothing when all is set', complete, []],
    ['everything when nothing is', {}, ['DATABASE_URL', 'IOT_ENDPOINT', 'UPSTASH_REDIS_REST_URL']],
    ['a server in place of a file', { ...complete, DATABASE_URL: 'file:registry.db' }, ['DATABASE_URL']],
    [
      'a server in place of the predecessor',
      { ...complete, DATABASE_URL: 'sqlite:///a.db' },
      ['DATABASE_URL'],
    ],
    ['an encrypted connection', { ...complete, DATABASE_URL: 'http://db.example.com' }, ['DATABASE_URL']],
    ['a server elsewhere', { ...complete, DATABASE_URL: 'https://127.0.0.1:8080' }, ['DATABASE_URL']],
    [
      'an address without a credential',
      { ...complete, DATABASE_URL: 'libsql://db.example.com?authToken=x' },
      ['DATABASE_URL'],
    ],
    ['the endpoint of the broker', { ...complete, IOT_ENDPOINT: '' }, ['IOT_ENDPOINT']],
    [
      'an endpoint in the region',
      { ...complete, IOT_ENDPOINT: 'a1-ats.iot.us-east-1.amazonaws.com' },
      ['IOT_ENDPOINT'],
    ],
    ['no place to count where nothing is limited', { ...needed, ...unlimited }, []],
    [
      'one where anything is',
      { ...needed, ...unlimited, RATE_LIMIT_IP_PER_MINUTE: '300' },
      ['UPSTASH_REDIS_REST_URL'],
    ],
    ['one that functions reach', { ...complete, REDIS_URL: 'redis://127.0.0.1' }, ['REDIS_URL']],
    ['a way of ingest that there is', { ...complete, INGEST_MODE: 'kinesis' }, ['INGEST_MODE']],
    ['values that the functions take', { ...complete, RETENTION_DAYS: 'many' }, ['RETENTION_DAYS']],
    ['origins that browsers have', { ...complete, CORS_ORIGINS: 'example.com' }, ['CORS_ORIGINS']],
  ])('misses %s', (_what, values, names) => {
    expect(namesOf(settingProblems(deploymentOf(values)))).toEqual(names)
  })

  it('may name a server on this computer only where AWS is on it, too', () => {
    const values = { ...complete, DATABASE_URL: 'http://127.0.0.1:8080' }
    const problemsAt = (awsEndpoint: string | undefined) =>
      namesOf(settingProblems(deploymentOf(values, { awsEndpoint })))
    expect(problemsAt('http://127.0.0.1:5001')).toEqual([])
    expect(problemsAt('https://aws.example.com')).toEqual(['DATABASE_URL'])
    expect(problemsAt(undefined)).toEqual(['DATABASE_URL'])
  })

  it('stand in the file of the stage only where they have an effect', () => {
    const namesInFile = [
      'DATABASE_URL',
      'INGEST_MODE',
      'AWS_ACCOUNT_ID',
      'STAGE',
      'ADMIN_TOKEN',
      'PORT',
      'SPOOL_QUEUE_URL',
      'IOT_DOMAIN_CONFIGURATION',
      'LOG_LEVLE',
    ]
    const problems = settingProblems(deploymentOf(complete, { namesInFile }))
    expect(problems.map((one) => one.slice(0, 30))).toEqual([
      '.env.dev must not set STAGE: -',
      'ADMIN_TOKEN is a secret: put i',
      'PORT has no effect in the clou',
      'SPOOL_QUEUE_URL has no effect ',
      'IOT_DOMAIN_CONFIGURATION has n',
      'LOG_LEVLE is no setting: corre',
    ])
  })

  it.each([
    ['dev', 'iotflow-dev', []],
    ['dev', 'iotflow', ['TOPIC_ROOT']],
    ['staging', 'iotflow-dev', ['TOPIC_ROOT']],
    ['prod', 'iotflow', []],
    ['prod', 'iotflow-prod', ['TOPIC_ROOT']],
  ] as const)(
    'give stage %s the topics below %s only where no function would refuse them',
    (stage, root, names) => {
      const derived = { TOPIC_ROOT: root, IOT_DOMAIN_CONFIGURATION: `iotflow-${stage}` }
      expect(namesOf(settingProblems(deploymentOf(complete, { stage, derived })))).toEqual(names)
    },
  )

  it('open prod only when that is said twice', () => {
    const values = { ...complete, OPEN_REGISTRATION: 'TRUE', PUBLIC_TELEMETRY_READS: '1' }
    const problemsOf = (more: Partial<Deployment>) => namesOf(settingProblems(deploymentOf(values, more)))
    expect(problemsOf({ stage: 'prod' })).toEqual(['OPEN_REGISTRATION', 'PUBLIC_TELEMETRY_READS'])
    expect(problemsOf({ stage: 'prod', confirmedOpen: 'PUBLIC_TELEMETRY_READS' })).toEqual([
      'OPEN_REGISTRATION',
    ])
    expect(problemsOf({ stage: 'prod', confirmedOpen: 'OPEN_REGISTRATION, PUBLIC_TELEMETRY_READS' })).toEqual(
      [],
    )
    expect(problemsOf({ stage: 'staging' })).toEqual([])
    const closed = deploymentOf({ ...complete, OPEN_REGISTRATION: 'no' }, { stage: 'prod' })
    expect(settingProblems(closed)).toEqual([])
  })
})

describe('the parameters of a stage', () => {
  const secure = (value: string): Parameter => ({ value, type: 'SecureString', version: 3 })
  const secrets = {
    ADMIN_TOKEN: secure('a'.repeat(24)),
    DATABASE_AUTH_TOKEN: secure('secret of the database'),
    UPSTASH_REDIS_REST_TOKEN: secure('secret of Upstash'),
  }
  const path = '/iotflow/dev'
  const problemsOf = (
    parameters: Readonly<Record<string, Parameter>>,
    values: Record<string, string> = complete,
  ) => parameterProblems(deploymentOf(values), path, new Map(Object.entries(parameters)))

  it('are those that the settings need', () => {
    expect(neededSecrets(settingsOf(needed))).toEqual(['ADMIN_TOKEN', 'DATABASE_AUTH_TOKEN'])
    expect(neededSecrets(settingsOf({ ...complete, INFLUXDB_URL: 'https://influx.example.com' }))).toEqual([
      'ADMIN_TOKEN',
      'DATABASE_AUTH_TOKEN',
      'UPSTASH_REDIS_REST_TOKEN',
      'INFLUXDB_TOKEN',
    ])
    expect(problemsOf(secrets)).toEqual([])
    const { ADMIN_TOKEN, ...others } = secrets
    expect(problemsOf(others)).toEqual([
      'ADMIN_TOKEN is missing in the parameter store: aws ssm put-parameter --region eu-central-1 --type SecureString --name /iotflow/dev/ADMIN_TOKEN --value …',
    ])
    expect(ADMIN_TOKEN).toBeDefined()
  })

  it('are encrypted, and have the form that the functions take', () => {
    const readable = { ...secrets, ENROLLMENT_KEY: { value: 'k'.repeat(16), type: 'String', version: 1 } }
    expect(problemsOf(readable)).toEqual([
      expect.stringMatching(/^ENROLLMENT_KEY is a String .* not encrypted/),
    ])
    const short = { ...secrets, ADMIN_TOKEN: secure('short') }
    expect(problemsOf(short)).toEqual(['ADMIN_TOKEN must have at least 24 characters.'])
  })

  it('are shown without their values', () => {
    const shown = describeDeployment(deploymentOf(complete), path, new Map(Object.entries(secrets)))
    expect(shown).toMatch(/DATABASE_URL +libsql:\/\/iotflow\.example\.com +environment\n/)
    expect(shown).toMatch(/DATABASE_AUTH_TOKEN +\*\*\* +\/iotflow\/dev\/DATABASE_AUTH_TOKEN, version 3\n/)
    expect(shown).toMatch(/ENROLLMENT_KEY +none +\/iotflow\/dev\/ENROLLMENT_KEY\n/)
    for (const { value } of Object.values(secrets)) expect(shown).not.toContain(value)
  })
})
