import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ConfigError, loadConfig } from '../../lib/config.ts'

const problems = (env: Record<string, string>): string[] => {
  try {
    loadConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
  }
  throw new Error('the settings were accepted')
}

describe('without settings', () => {
  it('everything has its documented default', () => {
    expect(loadConfig({})).toEqual({
      stage: 'local',
      topicRoot: 'iotflow',
      host: '127.0.0.1',
      loopback: true,
      ports: { http: 5000, mqtt: 1883, mqttWs: 9001, mqttTls: 8883 },
      tls: undefined,
      trustProxy: [],
      webhooks: { signingKey: undefined, privateAddresses: [], queue: undefined },
      dataDir: resolve('.iotflow'),
      database: { url: `file:${resolve('.iotflow/registry.db')}`, authToken: undefined },
      iot: undefined,
      limits: { devicePerMinute: 60, telemetryPerMinute: 100, registerPer5Minutes: 1000, ipPerMinute: 300 },
      upstash: undefined,
      spool: { maxBytes: 1_073_741_824, maxAgeS: 1_209_600 },
      adminToken: undefined,
      enrollmentKeys: [],
      openRegistration: 'loopback',
      publicTelemetryReads: 'loopback',
      corsOrigins: [],
      apiKeyLength: 32,
      retentionDays: 30,
      offlineAfterS: 300,
      maxClockAheadS: 300,
      commandPollMaxS: 25,
      sources: {},
      logLevel: 'info',
    })
  })

  it('an empty setting counts as absent', () => {
    expect(loadConfig({ PORT: '', ADMIN_TOKEN: '', STAGE: '', OPEN_REGISTRATION: '' })).toEqual(
      loadConfig({}),
    )
  })
})

describe('registration and reading', () => {
  const open = (env: Record<string, string>) => {
    const { openRegistration, publicTelemetryReads } = loadConfig(env)
    return [openRegistration, publicTelemetryReads]
  }

  it.each(['127.0.0.1', '127.9.9.9', 'localhost', '::1'])(
    'are open in stage local on %s, for callers who name a loopback host',
    (HOST) => {
      expect(open({ HOST })).toEqual(['loopback', 'loopback'])
      expect(open({ HOST, OPEN_REGISTRATION: 'true', PUBLIC_TELEMETRY_READS: '1' })).toEqual([true, true])
    },
  )

  it.each([
    { HOST: '0.0.0.0' },
    { HOST: '192.168.1.5' },
    { HOST: '::' },
    { STAGE: 'dev' },
    { STAGE: 'prod' },
  ])('are closed with %j, until the settings open them', (env) => {
    expect(open(env)).toEqual([false, false])
    expect(open({ ...env, OPEN_REGISTRATION: 'true', PUBLIC_TELEMETRY_READS: 'yes' })).toEqual([true, true])
  })

  it('can be closed anywhere', () => {
    expect(open({ OPEN_REGISTRATION: 'false', PUBLIC_TELEMETRY_READS: '0' })).toEqual([false, false])
  })

  it('have a lower limit of registrations in deployed stages', () => {
    expect(loadConfig({ STAGE: 'prod' }).limits.registerPer5Minutes).toBe(10)
    expect(
      loadConfig({ STAGE: 'prod', RATE_LIMIT_REGISTER_PER_5_MINUTES: '7' }).limits.registerPer5Minutes,
    ).toBe(7)
  })
})

describe('a setting', () => {
  it('is read in its own form', () => {
    const config = loadConfig({
      PORT: '0',
      MQTT_PORT: 'none',
      TRUST_PROXY: '10.0.0.0/8, ::1',
      CORS_ORIGINS: 'https://a.example, http://localhost:3000',
      ENROLLMENT_KEY: 'first-enrolment-key,second-enrolment-key',
      DATABASE_URL: 'libsql://registry.example',
      DATABASE_AUTH_TOKEN: 'token',
      IOT_ENDPOINT: 'abc-ats.iot.eu-central-1.amazonaws.com',
      AWS_REGION: 'eu-central-1',
      RETENTION_DAYS: '0',
    })
    expect(config).toMatchObject({
      ports: { http: 0, mqtt: undefined },
      trustProxy: ['10.0.0.0/8', '::1'],
      corsOrigins: ['https://a.example', 'http://localhost:3000'],
      enrollmentKeys: ['first-enrolment-key', 'second-enrolment-key'],
      database: { url: 'libsql://registry.example', authToken: 'token' },
      iot: { endpoint: 'https://abc-ats.iot.eu-central-1.amazonaws.com', region: 'eu-central-1' },
      retentionDays: 0,
    })
  })

  it('takes credentials for the broker from the environment when it has some', () => {
    const { iot } = loadConfig({
      STAGE: 'dev',
      IOT_ENDPOINT: 'https://abc-ats.iot.eu-central-1.amazonaws.com',
      AWS_ACCESS_KEY_ID: 'AKIA',
      AWS_SECRET_ACCESS_KEY: 'hidden',
      AWS_SESSION_TOKEN: 'of the function',
    })
    expect(iot?.credentials).toMatchObject({
      accessKeyId: 'AKIA',
      secretAccessKey: 'hidden',
      sessionToken: 'of the function',
    })
  })

  it.each([
    ['STAGE', 'production'],
    ['PORT', '70000'],
    ['PORT', 'abc'],
    ['MQTT_PORT', '-1'],
    ['TRUST_PROXY', 'proxy.example'],
    ['TRUST_PROXY', '10.0.0.0/64'],
    ['CORS_ORIGINS', 'example.com'],
    ['DATABASE_URL', 'postgres://x'],
    ['ADMIN_TOKEN', 'short'],
    ['WEBHOOK_SIGNING_KEY', 'shorter-than-32-characters-01234'.slice(1)],
    ['WEBHOOK_PRIVATE_ADDRESSES', 'relay.example'],
    ['WEBHOOK_PRIVATE_ADDRESSES', '10.0.0.0/33'],
    ['ENROLLMENT_KEY', 'short'],
    ['ENROLLMENT_KEY', 'a-long-enough-key-1,a-long-enough-key-2,a-long-enough-key-3'],
    ['OPEN_REGISTRATION', 'maybe'],
    ['API_KEY_LENGTH', '23'],
    ['API_KEY_LENGTH', '65'],
    ['RETENTION_DAYS', '-1'],
    ['RETENTION_DAYS', '1.5'],
    ['OFFLINE_AFTER_S', '0'],
    ['RATE_LIMIT_PER_MINUTE', 'many'],
    ['RATE_LIMIT_IP_PER_MINUTE', '-5'],
    ['LOG_LEVEL', 'loud'],
    ['TLS_CERT', 'cert.pem'],
    ['UPSTASH_REDIS_REST_URL', 'https://x.upstash.io'],
    ['UPSTASH_REDIS_REST_TOKEN', 'token'],
  ])('%s=%s is refused in one sentence that names it', (name, value) => {
    const found = problems({ [name]: value })
    expect(found).toHaveLength(1)
    expect(found[0]).toContain(name)
    expect(found[0]).toMatch(/\.$/)
  })

  it.each(['iotflow', 'a', 'acme.plants_2b', 'x'.repeat(32)])('may name %j as the root of topics', (root) => {
    expect(loadConfig({ TOPIC_ROOT: root }).topicRoot).toBe(root)
  })

  it.each([
    ...['a/b', '/a', 'a/', 'a+', '#', '$aws', 'a b', "a'b", 'ä', '-a', 'a-', 'x'.repeat(33)],
    ...['7', 'plant-7', '7_a'],
  ])('may not name %j as the root of topics', (root) => {
    expect(problems({ TOPIC_ROOT: root })).toEqual([expect.stringMatching(/^TOPIC_ROOT must/)])
  })

  it.each([
    ['dev', 'iotflow-dev', true],
    ['dev', 'acme-plants-dev', true],
    ['dev', 'iotflow', false],
    ['dev', 'iotflow-staging', false],
    ['dev', 'staging-dev', false],
    ['prod', 'iotflow', true],
    ['prod', 'acme', true],
    ['prod', 'iotflow-dev', false],
    ['prod', 'dev_acme', false],
  ])('may name, in stage %s on AWS, %j as the root of topics: %s', (STAGE, TOPIC_ROOT, may) => {
    const settings = { STAGE, TOPIC_ROOT, IOT_DOMAIN_CONFIGURATION: `iotflow-${STAGE}` }
    if (may) expect(loadConfig(settings).topicRoot).toBe(TOPIC_ROOT)
    else expect(problems(settings)).toEqual([expect.stringMatching(/^TOPIC_ROOT of stage/)])
    expect(loadConfig({ STAGE, TOPIC_ROOT }).topicRoot).toBe(TOPIC_ROOT)
  })

  it('that is secret does not appear in its message', () => {
    const found = problems({ ADMIN_TOKEN: 'hunter2', ENROLLMENT_KEY: 'hunter3' })
    expect(found).toHaveLength(2)
    expect(found.join()).not.toMatch(/hunter/)
  })

  it('that is bad does not hide another bad one', () => {
    expect(problems({ PORT: 'x', STAGE: 'y', LOG_LEVEL: 'z' }).map((text) => text.split(' ')[0])).toEqual(
      expect.arrayContaining(['PORT', 'STAGE', 'LOG_LEVEL']),
    )
  })

  it.each([
    ['MQTT_HOST', 'localhost'],
    ['DATABASE_URL', 'sqlite:///iotflow.db'],
    ['FLASK_ENV', 'production'],
  ])('of the predecessor, %s, is answered with the setting to use instead', (name, value) => {
    expect(problems({ [name]: value })[0]).toMatch(/use |HOST says/)
  })

  it.each([
    ['INFLUXDB_URL', 'ftp://a', 'http: or https:'],
    ['INFLUXDB_URL', 'http://127.0.0.1:8086', 'INFLUXDB_TOKEN'],
    ['MQTT_URL', 'http://127.0.0.1', 'mqtt:'],
    ['MQTT_URL', 'mqtt://127.0.0.1', 'MQTT_USERNAME'],
    ['REDIS_URL', 'http://127.0.0.1', 'redis:'],
    ['REDIS_URL', 'redis://127.0.0.1:6379/limits', 'number of a database'],
    ['DATABASE_URL', 'wss://127.0.0.1', 'file:'],
    ['SPOOL_QUEUE_URL', 'spool', 'SQS'],
  ])('%s=%s is answered with the missing part', (name, value, needs) => {
    const [problem] = problems({ [name]: value })
    expect(problem).toContain(name)
    expect(problem).toContain(needs)
  })

  it('for Redis may name only one backend of the request limits', () => {
    const upstash = { UPSTASH_REDIS_REST_URL: 'https://a.upstash.io', UPSTASH_REDIS_REST_TOKEN: 't' }
    expect(problems({ ...upstash, REDIS_URL: 'redis://127.0.0.1' })[0]).toContain('REDIS_URL')
  })
})
