import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { checkDeployment, type DeploymentContext, migrate } from '../../../cloud/plugin/deployment.ts'
import { openDatabase } from '../../../lib/libsql/client.ts'
import { root } from '../../../lib/root.ts'
import { type Aws, awsAccess, findMoto, startAws } from '../../support/aws.ts'
import { describeWith } from '../../support/backends.ts'
import { runProgram } from '../../support/programs.ts'
import { findSqld, type Sqld, startSqld } from '../../support/sqld.ts'

describeWith({ moto: findMoto() !== undefined, sqld: findSqld() !== undefined }, 'a deployment', () => {
  let aws: Aws
  let sqld: Sqld
  let written: string
  const secrets = { ADMIN_TOKEN: 'a-token-of-the-operators', DATABASE_AUTH_TOKEN: 'a-token-of-the-database' }

  beforeAll(async () => {
    aws = await startAws()
    sqld = await startSqld()
  }, 120_000)
  afterAll(async () => {
    await aws?.stop()
    await sqld?.stop()
  })

  beforeEach(() => {
    written = ''
  })

  const put = (name: string, Value: string, Type = 'SecureString') =>
    aws.call('ssm', 'AmazonSSM.PutParameter', { Name: `/iotflow/dev/${name}`, Value, Type })

  const settings = () => ({
    AWS_ENDPOINT_URL: aws.endpoint,
    DATABASE_URL: sqld.url,
    IOT_ENDPOINT: 'a1-ats.iot.eu-central-1.amazonaws.com',
    RATE_LIMIT_PER_MINUTE: '0',
    RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
    RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
    RATE_LIMIT_IP_PER_MINUTE: '0',
  })

  const contextWith = (more: Partial<DeploymentContext> = {}): DeploymentContext => ({
    stage: 'dev',
    region: awsAccess.region,
    service: {
      service: 'iotflow',
      custom: {
        topicRoot: 'iotflow-dev',
        clientIds: 'iotflow-dev-*',
        usedDomainConfiguration: 'iotflow-dev',
      },
      provider: {},
      functions: {},
    },
    environment: settings(),
    identify: async () => ({ accountId: '123456789012', arn: 'arn:aws:iam::123456789012:user/one' }),
    credentials: async () => awsAccess,
    write: (text) => {
      written += text
    },
    ...more,
  })

  const tables = async () => {
    const client = await openDatabase({ url: sqld.url, authToken: undefined })
    const { rows } = await client.execute("select name from sqlite_master where type = 'table'")
    client.close()
    return rows.map(({ name }) => name)
  }

  it('changes nothing while a check fails, and says what to do', async () => {
    await expect(checkDeployment(contextWith({ stage: 'test' }))).rejects.toThrow('--stage must be dev')
    await expect(checkDeployment(contextWith({ environment: {} }))).rejects.toThrow(
      /^Nothing was changed:\n- DATABASE_URL is missing: .*\n- IOT_ENDPOINT is missing: aws iot .*\n- UPSTASH/,
    )
    const identify = () => Promise.reject(new Error('The token has expired.\n    at somewhere'))
    await expect(checkDeployment(contextWith({ identify }))).rejects.toThrow(
      /no AWS credentials that work \(The token has expired\.\): set AWS_PROFILE/,
    )
    const environment = { ...settings(), AWS_ACCOUNT_ID: '999999999999' }
    await expect(checkDeployment(contextWith({ environment }))).rejects.toThrow(
      'These credentials are of account 123456789012, but AWS_ACCOUNT_ID of environment is 999999999999',
    )
    await expect(checkDeployment(contextWith())).rejects.toThrow(
      /^Nothing was changed:\n- ADMIN_TOKEN is missing .*\n- DATABASE_AUTH_TOKEN is missing/,
    )
    const service = contextWith().service
    const ofOther = { TOPIC_ROOT: 'iotflow-staging', IOT_DOMAIN_CONFIGURATION: 'iotflow-dev' }
    const withTopics = { ...service, provider: { environment: ofOther } }
    await expect(checkDeployment(contextWith({ service: withTopics }))).rejects.toThrow(
      'TOPIC_ROOT of stage dev must end with -dev',
    )
    const elsewhere = contextWith({ environment: { ...settings(), AWS_ENDPOINT_URL: 'http://127.0.0.1:9' } })
    await expect(checkDeployment(elsewhere)).rejects.toThrow(
      /^The parameter store does not answer .* check --region/,
    )
    expect([written, await tables()]).toEqual(['', []])
  })

  it('is refused by the command line in the same way', async () => {
    const { code, out, err } = await runProgram(
      process.execPath,
      ['node_modules/serverless/bin/serverless.js', 'deploy', '--stage', 'dev'],
      {
        cwd: fileURLToPath(root),
        env: {
          ...settings(),
          ...aws.environment,
          SLS_TELEMETRY_DISABLED: '1',
          SLS_NOTIFICATIONS_MODE: 'off',
        },
      },
    )
    expect([code, out + err]).toEqual([
      1,
      expect.stringMatching(/Nothing was changed:\n- ADMIN_TOKEN is missing in the parameter store: aws ssm/),
    ])
    const stacks = await aws.query('cloudformation', '2010-05-15', { Action: 'ListStacks' })
    expect(stacks).not.toContain('<StackName>')
    expect(await tables()).toEqual([])
  }, 120_000)

  it('shows settings and account without secrets, then migrates with the secrets of the stage', async () => {
    for (const [name, value] of Object.entries(secrets)) await put(name, value)
    const checked = await checkDeployment(contextWith())
    expect(written).toContain(
      'in eu-central-1 of account 123456789012, as arn:aws:iam::123456789012:user/one',
    )
    expect(written).toMatch(/ADMIN_TOKEN +\*\*\* +\/iotflow\/dev\/ADMIN_TOKEN, version 1/)
    for (const value of Object.values(secrets)) expect(written).not.toContain(value)
    expect(await tables()).toEqual([])
    await migrate(checked)
    expect(await tables()).toEqual(expect.arrayContaining(['devices', 'commands', 'readings']))
  })

  it('refuses a secret that everybody in the account can read', async () => {
    await put('ENROLLMENT_KEY', 'k'.repeat(16), 'String')
    await expect(checkDeployment(contextWith())).rejects.toThrow(
      /ENROLLMENT_KEY is a String in the parameter/,
    )
  })
})
