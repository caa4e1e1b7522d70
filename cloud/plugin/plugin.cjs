/**
 * The plugin of serverless.yml. `serverless deploy` checks everything that can be checked before it changes anything, builds the
 * functions, migrates the databases and then deploys; every function gets a role of its rights. The variable
 * `${setting:<NAME>}` reads the environment and `.env.<stage>`.
 */
const { join } = require('node:path')
const { pathToFileURL } = require('node:url')

const loaded = new Map()
/** A part in TypeScript, which esbuild builds when a source has changed. The settings alone stand on few files. */
const load = (part) => {
  const build = async () => {
    const { bundle } = await import('../../scripts/bundle.mjs')
    const folder = await bundle(`cloud/plugin/${part}.ts`)
    return import(pathToFileURL(join(folder, 'program.mjs')).href)
  }
  if (!loaded.has(part)) loaded.set(part, build())
  return loaded.get(part)
}

/** Commands of the framework that do not fit this service, with what to do instead. */
const refusals = {
  'deploy function':
    'One function alone is not deployed: npm run deploy checks and migrates, and deploys all of them.',
  logs: 'Functions share log groups, which this command does not know: docs/monitoring.md says how to read the lines of one.',
}

module.exports = class {
  constructor(serverless, options) {
    this.serverless = serverless
    this.options = options
    this.configurationVariablesSources = {
      setting: { resolve: ({ address }) => this.setting(address) },
    }
    this.hooks = {
      initialize: () => this.begin(),
      'before:package:cleanup': () => this.guarded((program) => this.checked && program.buildCloud()),
      'after:package:initialize': () => this.guarded((program) => this.addLogsAndRoles(program)),
      'after:package:compileEvents': () => this.guarded((program) => this.callByRole(program)),
      'before:deploy:deploy': () => this.guarded((program) => this.migrate(program)),
      'after:deploy:deploy': () => this.showSmokeTest(),
    }
  }

  get command() {
    return this.serverless.processedInput.commands.join(' ')
  }

  get stage() {
    return this.serverless.getProvider('aws').getStage()
  }

  /** An error of ours is one for the operator: the framework shows its message without a stack. */
  async guarded(work) {
    try {
      return await work(await load('deployment'))
    } catch (error) {
      if (error.constructor !== Error) throw error
      throw new this.serverless.classes.Error(error.message, 'IOTFLOW')
    }
  }

  write(text) {
    process.stdout.write(text)
  }

  async setting(name) {
    const { stage } = this.options
    // On one machine the settings of the process are all there is.
    if (stage === 'local') return { value: process.env[name] || null }
    const { readStageSettings } = await load('stage-settings')
    const { settings } = readStageSettings(stage ?? this.stage, process.env)
    return { value: settings[name]?.value ?? null }
  }

  async begin() {
    const { command, stage } = this
    if (command === 'package') await this.guarded((program) => program.parseStage(stage))
    if (command === 'deploy') await this.guarded((program) => this.check(program))
    const refusal = refusals[command]
    if (refusal !== undefined) throw new this.serverless.classes.Error(refusal, 'IOTFLOW')
  }

  async check(program) {
    const provider = this.serverless.getProvider('aws')
    this.checked = await program.checkDeployment({
      stage: this.options.stage,
      region: provider.getRegion(),
      service: this.serverless.service,
      environment: process.env,
      identify: () => provider.getAccountInfo(),
      credentials: async () => {
        const { credentials } = await provider.getAwsSdkV3Config()
        return credentials()
      },
      write: this.write,
    })
  }

  async addLogsAndRoles(program) {
    program.addLogGroups(this.serverless.service, this.stage)
    program.addRoles(this.serverless.service, this.stage, await program.readContents())
  }

  callByRole({ callFunctionsByRole }) {
    callFunctionsByRole(this.serverless.service.provider.compiledCloudFormationTemplate.Resources)
  }

  async migrate(program) {
    await program.migrate(this.checked)
    this.write(`\nThe databases of stage ${this.stage} are up to date.\n`)
  }

  showSmokeTest() {
    this.write(
      `\nThen see whether the stage works:\n\n  npm run smoke -- --url <the address of the API, below>\n`,
    )
  }
}
