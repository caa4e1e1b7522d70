/**
 * A plugin of Serverless: what is left when a stage is removed. Log groups of prod stay like the queues; `serverless remove` says
 * what stays and how to delete it, and removes prod only for someone who names it twice.
 */
const { createRequire } = require('node:module')

/** Data that a removal leaves, and the command that deletes it. */
const commands = {
  'AWS::SQS::Queue': (url) => `aws sqs delete-queue --queue-url ${url}`,
  'AWS::Logs::LogGroup': (name) => `aws logs delete-log-group --log-group-name ${name}`,
  'AWS::IoT::DomainConfiguration': (name) =>
    `aws iot update-domain-configuration --domain-configuration-name ${name} --domain-configuration-status DISABLED`,
}

const isKept = ({ DeletionPolicy = 'Delete' }) => DeletionPolicy !== 'Delete'

/** The plugin's class. Serverless calls the hooks by their names. */
class Removal {
  constructor(serverless, options, { log }) {
    this.serverless = serverless
    this.options = options
    this.log = log
    this.provider = serverless.getProvider('aws')
    this.commands = {
      remove: {
        options: {
          confirm: { type: 'string', usage: 'The name of the stage once more: prod is not removed without' },
        },
      },
    }
    this.kept = []
    this.hooks = {
      'after:aws:package:finalize:mergeCustomProviderResources': () => this.keepLogs(),
      'before:remove:remove': () => this.beforeRemoval(),
      'after:remove:remove': () => this.sayWhatStays(),
    }
  }

  keepLogs() {
    if (this.provider.getStage() !== 'prod') return
    const { Resources } = this.serverless.service.provider.compiledCloudFormationTemplate
    for (const resource of Object.values(Resources)) {
      if (resource.Type !== 'AWS::Logs::LogGroup') continue
      resource.DeletionPolicy = 'RetainExceptOnCreate'
      resource.UpdateReplacePolicy = 'Retain'
    }
  }

  async beforeRemoval() {
    const stage = this.provider.getStage()
    if (stage === 'prod' && this.options.confirm !== stage)
      throw new this.serverless.classes.Error(
        `Stage prod is removed only with --confirm prod, after deletion protection is off: aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name ${this.provider.naming.getStackName()}`,
      )
    this.kept = await this.findKept()
  }

  /** @returns type and physical id of what the stack would leave; nothing when there is no stack. */
  async findKept() {
    // Serverless brings the client.
    const sdk = createRequire(require.resolve('serverless/package.json'))('@aws-sdk/client-cloudformation')
    const client = new sdk.CloudFormationClient(await this.provider.getAwsSdkV3Config())
    const StackName = this.provider.naming.getStackName()
    let template
    try {
      template = await client.send(new sdk.GetTemplateCommand({ StackName }))
    } catch (error) {
      if (/does not exist/.test(error.message)) return []
      throw error
    }
    const { Resources } = JSON.parse(template.TemplateBody)
    const found = []
    for await (const page of sdk.paginateListStackResources({ client }, { StackName }))
      for (const { LogicalResourceId, PhysicalResourceId, ResourceType } of page.StackResourceSummaries ?? [])
        if (isKept(Resources[LogicalResourceId] ?? {}))
          found.push({ name: LogicalResourceId, type: ResourceType, id: PhysicalResourceId })
    return found
  }

  sayWhatStays() {
    if (this.kept.length === 0) return
    const lines = this.kept.map(
      ({ name, type, id }) => `  ${commands[type]?.(id) ?? `${type} ${name} ${id}`}`,
    )
    const path = `/${this.serverless.service.service}/${this.provider.getStage()}/`
    const isKept = (wanted) => this.kept.some(({ type }) => type === wanted)
    // A queue gets a new name with each stack, a log group and a domain configuration do not.
    const again = [
      isKept('AWS::Logs::LogGroup') && ' Log groups must be deleted before the stage can be deployed again.',
      isKept('AWS::IoT::DomainConfiguration') &&
        ' AWS deletes the domain configuration of MQTT only seven days after it was disabled (aws iot delete-domain-configuration): until then deploy the stage again with --param domainConfiguration=<another name>, and its devices get another address.',
    ]
      .filter(Boolean)
      .join('')
    this.log.notice(
      `These stay, with their data. So do the parameters below ${path} and the databases.${again} To delete them:\n${lines.join('\n')}`,
    )
  }
}

module.exports = Removal
