/**
 * The functions of a deployed stack, called as AWS calls them. Code, memory and environment come from moto, what calls a function from
 * the template: no name of a function stands here.
 */
import type { SQSBatchResponse, SQSRecord } from 'aws-lambda'
import type { HttpRoute } from '../../local/function-table.ts'
import { ruleOf, type TopicRule } from '../../local/mqtt/rules.ts'
import { type Aws, awsAccess } from '../support/aws.ts'
import { LambdaHost } from '../support/lambda-host.ts'
import type { Resource } from '../support/serverless.ts'
import { queueAt } from '../support/sqs.ts'
import { readStack, type Settings } from './serverless.ts'
import { resourcesOf, type Template } from './template.ts'
import { unzip } from './unzip.ts'

interface Options {
  readonly aws: Aws
  /** `<service>-<stage>` */
  readonly name: string
  /** As it was packaged. */
  readonly template: Template
  /** An empty folder for the contents of the zips. */
  readonly folder: string
  /** What stands in the environment of functions, and what replaces it: addresses of servers on this machine. */
  readonly replace: Settings
  /** Added to the environment, as Lambda adds region and credentials. */
  readonly environment: Settings
}

interface FunctionConfiguration {
  readonly FunctionName: string
  readonly FunctionArn: string
  readonly Handler: string
  readonly MemorySize: number
  readonly Timeout: number
  readonly Environment: { readonly Variables: Settings }
}

/** What a rule calls: a function, or a queue; with its name in the template. */
type Target = { readonly lambda: string } | { readonly queue: string }

/** The resource that a `Ref` or the first `Fn::GetAtt` in a value names. */
const namedIn = (value: unknown): string | undefined => {
  if (typeof value !== 'object' || value === null) return undefined
  const { Ref, 'Fn::GetAtt': attribute } = value as { Ref?: string; 'Fn::GetAtt'?: [string, string] }
  if (attribute !== undefined) return attribute[0]
  if (Ref !== undefined) return Ref
  for (const item of Object.values(value)) {
    const found = namedIn(item)
    if (found !== undefined) return found
  }
  return undefined
}

const nameIn = (value: unknown): string => {
  const found = namedIn(value)
  if (found === undefined) throw new Error(`nothing is named in ${JSON.stringify(value)}`)
  return found
}

const targetOf = ({ Properties }: Resource): Target => {
  const [action] = Properties.TopicRulePayload.Actions
  return action.Lambda === undefined
    ? { queue: nameIn(action.Sqs.QueueUrl) }
    : { lambda: nameIn(action.Lambda.FunctionArn) }
}

export class DeployedStack {
  readonly #options: Options
  readonly #physicalIds: ReadonlyMap<string, string>
  readonly #hosts = new Map<string, Promise<LambdaHost>>()
  #closed = ''

  private constructor(options: Options, physicalIds: ReadonlyMap<string, string>) {
    this.#options = options
    this.#physicalIds = physicalIds
  }

  static async open(options: Options): Promise<DeployedStack> {
    const { resources } = await readStack(options.aws, options.name)
    return new DeployedStack(options, new Map(resources.map(({ id, physicalId }) => [id, physicalId])))
  }

  /** Every function, by its name in the template. */
  get functions(): string[] {
    return Object.entries(this.#options.template.Resources)
      .filter(([, { Type }]) => Type === 'AWS::Lambda::Function')
      .map(([id]) => id)
  }

  /** What all functions have written to their logs. */
  async logs(): Promise<string> {
    const hosts = await Promise.all(this.#hosts.values())
    return this.#closed + hosts.map(({ output }) => output).join('')
  }

  /** Calls a function. @param id its name in the template. @throws {FunctionError} */
  async invoke(id: string, event: unknown): Promise<unknown> {
    return (await this.#host(id)).invoke(event)
  }

  /** Starts one container of a function and ends it. @throws {FunctionError} when its code cannot be loaded. */
  async tryStart(id: string): Promise<void> {
    const host = await this.#open(id)
    try {
      await host.start()
    } finally {
      await host.close()
      this.#closed += host.output
    }
  }

  /** The function of the only resource of a type: of the authorizer. */
  functionOf(type: string, property: string): string {
    const [only, ...others] = resourcesOf(this.#options.template, type)
    if (only === undefined || others.length > 0) throw new Error(`there is not one ${type}`)
    return nameIn(only.Properties[property])
  }

  /** Routes of the HTTP API with the functions that answer them, and the one of `$default`. */
  get routes(): { routes: HttpRoute[]; fallback: string } {
    const { Resources } = this.#options.template
    const all = resourcesOf(this.#options.template, 'AWS::ApiGatewayV2::Route').map(({ Properties }) => {
      const [method = '', path = ''] = String(Properties.RouteKey).split(' ')
      const integration = Resources[nameIn(Properties.Target)]
      return {
        method,
        path: path.replaceAll(/\{(\w+)\}/g, ':$1'),
        functionName: nameIn(integration?.Properties.IntegrationUri),
      }
    })
    const fallback = all.find(({ method }) => method === '$default')?.functionName ?? ''
    return { routes: all.filter(({ path }) => path !== ''), fallback }
  }

  /** Rules that are on; `functionName` is the rule's name, for {@link carryOut}. */
  get rules(): TopicRule[] {
    return resourcesOf(this.#options.template, 'AWS::IoT::TopicRule')
      .map(({ Properties }) => Properties)
      .filter(({ TopicRulePayload }) => TopicRulePayload.RuleDisabled !== true)
      .map(({ RuleName: name, TopicRulePayload: { Sql: sql, AwsIotSqlVersion: sqlVersion } }) =>
        ruleOf(name, { name, function: name, sql, sqlVersion }),
      )
  }

  /** Does what a rule does with an event: calls its function, or puts the event into its queue. */
  async carryOut(ruleName: string, event: unknown): Promise<void> {
    const rule = resourcesOf(this.#options.template, 'AWS::IoT::TopicRule').find(
      ({ Properties }) => Properties.RuleName === ruleName,
    )
    if (rule === undefined) throw new Error(`there is no rule ${ruleName}`)
    const target = targetOf(rule)
    if ('lambda' in target) await this.invoke(target.lambda, event)
    else await this.send(target.queue, event)
  }

  /** Functions that EventBridge calls, with the ARN-like name of their rule. */
  get schedules(): { rule: string; functionId: string }[] {
    return Object.entries(this.#options.template.Resources)
      .filter(([, { Type }]) => Type === 'AWS::Events::Rule')
      .flatMap(([rule, { Properties }]) =>
        (Properties.Targets as { Arn: unknown }[]).map(({ Arn }) => ({ rule, functionId: nameIn(Arn) })),
      )
  }

  /** Queues that deliver to functions, by their names in the template. */
  get mappings(): { queue: string; functionId: string; batchSize: number }[] {
    return resourcesOf(this.#options.template, 'AWS::Lambda::EventSourceMapping').map(({ Properties }) => ({
      queue: nameIn(Properties.EventSourceArn),
      functionId: nameIn(Properties.FunctionName),
      batchSize: Properties.BatchSize,
    }))
  }

  /** URL of a queue at moto. */
  queueUrl(queue: string): string {
    return (this.#physicalIds.get(queue) ?? '').replace(/^https:\/\/[^/]+/, this.#options.aws.endpoint)
  }

  async send(queue: string, body: unknown): Promise<void> {
    const message = { QueueUrl: this.queueUrl(queue), MessageBody: JSON.stringify(body) }
    await this.#options.aws.call('sqs', 'AmazonSQS.SendMessage', message)
  }

  /** Delivers what is in the queues, in batches, and deletes what the functions have taken. @returns how many were taken and not. */
  async deliverQueues(): Promise<{ taken: number; failed: number }> {
    let [taken, failed] = [0, 0]
    for (const { queue, functionId } of this.mappings) {
      const at = queueAt(this.#options.aws, this.queueUrl(queue))
      for (let messages = await at.receive(); messages.length > 0; messages = await at.receive()) {
        const Records = messages.map(
          (message): Partial<SQSRecord> => ({
            messageId: message.MessageId,
            receiptHandle: message.ReceiptHandle,
            body: message.Body,
            attributes: message.Attributes as unknown as SQSRecord['attributes'],
            messageAttributes: {},
            eventSource: 'aws:sqs',
            eventSourceARN: `arn:aws:sqs:${awsAccess.region}:123456789012:${queue}`,
            awsRegion: awsAccess.region,
          }),
        )
        const answer = (await this.invoke(functionId, { Records })) as SQSBatchResponse
        const refused = new Set(answer.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier))
        failed += refused.size
        for (const message of messages) {
          if (refused.has(message.MessageId)) continue
          await at.delete(message)
          taken += 1
        }
      }
    }
    return { taken, failed }
  }

  async close(): Promise<void> {
    for (const host of await Promise.all(this.#hosts.values())) await host.close()
  }

  #host(id: string): Promise<LambdaHost> {
    let host = this.#hosts.get(id)
    if (host === undefined) {
      host = this.#open(id)
      this.#hosts.set(id, host)
    }
    return host
  }

  async #open(id: string): Promise<LambdaHost> {
    const { aws, template, folder: parent, environment, replace } = this.#options
    const path = `/2015-03-31/functions/${this.#physicalIds.get(id)}`
    const { Configuration: of } = (await (await aws.request('lambda', path)).json()) as {
      Configuration: FunctionConfiguration
    }
    const { S3Bucket, S3Key } = (template.Resources[id] as Resource).Properties.Code
    const zip = await aws.request('s3', `/${this.#physicalIds.get(nameIn(S3Bucket))}/${encodeURI(S3Key)}`)
    const folder = `${parent}/${id}`
    await unzip(Buffer.from(await zip.arrayBuffer()), folder)
    const replaced = (value: string) =>
      Object.entries(replace).reduce((text, [from, to]) => text.replaceAll(from, to), value)
    return new LambdaHost({
      name: of.FunctionName,
      arn: of.FunctionArn,
      folder,
      handler: of.Handler,
      memoryMb: of.MemorySize,
      timeoutS: of.Timeout,
      environment: {
        ...Object.fromEntries(
          Object.entries(of.Environment.Variables).map(([name, value]) => [name, replaced(value)]),
        ),
        ...environment,
      },
    })
  }
}
