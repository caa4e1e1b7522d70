/** The life of a stack with `npx serverless`, on a real CloudFormation API: moto. */
import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { type Aws, findMoto, startAws } from '../support/aws.ts'
import { describeWith } from '../support/backends.ts'
import { serverless } from '../support/serverless.ts'
import { findSqld, type Sqld, startSqld } from '../support/sqld.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { skippedTypes } from './moto-gaps.ts'
import { startProtection } from './protection.ts'
import { copyForMoto, packageStage, putSecrets, readStack, type Settings, settings } from './serverless.ts'
import { ownSettings } from './setup.ts'
import { readTemplate, type Template } from './template.ts'

const stage = 'dev'
const name = `iotflow-${stage}`

interface FunctionState {
  readonly Configuration: {
    readonly CodeSha256: string
    readonly MemorySize: number
    readonly Environment: { readonly Variables: Readonly<Record<string, string>> }
  }
}

const needs = { moto: findMoto() !== undefined, sqld: findSqld() !== undefined }

describeWith(needs, 'the stack of a stage', () => {
  let aws: Aws
  let protection: Awaited<ReturnType<typeof startProtection>>
  let sqld: Sqld
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  let environment: Settings
  let template: Template

  beforeAll(async () => {
    folder = await temporaryFolder()
    aws = await startAws()
    sqld = await startSqld()
    protection = await startProtection(aws)
    environment = {
      ...settings,
      ...aws.environment,
      AWS_ENDPOINT_URL: protection.endpoint,
      DATABASE_URL: sqld.url,
    }
    await putSecrets(aws, stage)
    template = await readTemplate(`${inject('packages')}/${stage}`)
    await copyForMoto(`${inject('packages')}/${stage}`, `${folder.path}/first`)
  })
  afterAll(async () => {
    await protection.close()
    await aws.stop()
    await sqld.stop()
    await folder.remove()
  })

  const deploy = (from: string) =>
    serverless(['deploy', '--stage', stage, '--package', `${folder.path}/${from}`], environment)
  const stack = () => readStack(aws, name)
  const functionState = async (functionName: string) =>
    (await (
      await aws.request('lambda', `/2015-03-31/functions/${name}-${functionName}`)
    ).json()) as FunctionState
  const settingsOf = async (functionName: string) =>
    (await functionState(functionName)).Configuration.Environment.Variables
  /** The deployments that a rollback may go back to, oldest first. */
  const deployments = async () => {
    const bucket = (await stack()).resources.find(({ type }) => type === 'AWS::S3::Bucket')?.physicalId
    const xml = await (await aws.request('s3', `/${bucket}?list-type=2`)).text()
    const times = [...xml.matchAll(/<Key>[^<]*\/(\d{13})-[^<]*<\/Key>/g)].map(([, time]) => time ?? '')
    return [...new Set(times)].sort()
  }

  it('is created with every resource, but those of types that moto does not know', async () => {
    expect(await stack()).toMatchObject({ status: undefined })
    await deploy('first')
    const { status, resources } = await stack()
    expect(status).toMatch(/^(?:CREATE|UPDATE)_COMPLETE$/)
    const created = new Set(resources.map(({ id }) => id))
    const skipped = Object.entries(template.Resources).filter(([id]) => !created.has(id))
    expect([...new Set(skipped.map(([, { Type }]) => Type))].sort()).toEqual(skippedTypes)
    expect(created.size + skipped.length).toBe(Object.keys(template.Resources).length)
  })

  it('is updated with a changed setting, which each function gets', async () => {
    const before = await functionState('telemetry-submit')
    await packageStage(stage, `${folder.path}/changed`, {
      ...settings,
      ...ownSettings[stage],
      RETENTION_DAYS: '7',
    })
    await copyForMoto(`${folder.path}/changed`, `${folder.path}/second`)
    await deploy('second')
    expect((await stack()).status).toBe('UPDATE_COMPLETE')
    expect(before.Configuration.Environment.Variables.RETENTION_DAYS).toBe('')
    const after = await functionState('telemetry-submit')
    expect(after.Configuration.Environment.Variables.RETENTION_DAYS).toBe('7')
    // The same sources make the same zip.
    expect(after.Configuration.CodeSha256).toBe(before.Configuration.CodeSha256)
    expect(await settingsOf('mqtt-authorize')).toMatchObject({ RETENTION_DAYS: '7' })
    expect(await deployments()).toHaveLength(2)
  })

  it('goes back to an earlier deployment', async () => {
    const [first] = await deployments()
    await serverless(['rollback', '--stage', stage, '--timestamp', first ?? ''], environment)
    expect((await stack()).status).toBe('UPDATE_COMPLETE')
    expect(await settingsOf('telemetry-submit')).toMatchObject({ RETENTION_DAYS: '' })
  })

  it('is removed, and created again', async () => {
    await serverless(['remove', '--stage', stage], environment)
    expect(await stack()).toMatchObject({ status: undefined })
    expect((await functionState('telemetry-submit')).Configuration).toBeUndefined()
    await deploy('first')
    expect((await stack()).status).toMatch(/^(?:CREATE|UPDATE)_COMPLETE$/)
    expect(await settingsOf('telemetry-submit')).toMatchObject({ RETENTION_DAYS: '' })
  })

  // The last test: CloudFormation would go back by itself, moto cannot tell any more what the stack has.
  it('says so when a deployment fails half way, and the functions go on as they were', async () => {
    const broken = (whole: Template): Template => ({
      ...whole,
      Resources: {
        ...whole.Resources,
        // moto creates what is new before it changes what there is, and finds no bucket here.
        BrokenFunction: {
          Type: 'AWS::Lambda::Function',
          Properties: {
            FunctionName: `${name}-broken`,
            Handler: 'none.handler',
            Runtime: 'nodejs24.x',
            Role: { 'Fn::GetAtt': ['RuleToSpool', 'Arn'] },
            Code: { S3Bucket: 'iotflow-no-such-bucket', S3Key: 'no-such-file.zip' },
          },
        },
      },
    })
    await copyForMoto(`${folder.path}/changed`, `${folder.path}/broken`, broken)
    await expect(deploy('broken')).rejects.toThrow(/failed to deploy/)
    expect(await settingsOf('telemetry-submit')).toMatchObject({ RETENTION_DAYS: '' })
    expect((await functionState('broken')).Configuration).toBeUndefined()
  })
})
