/** The CloudFormation template of a packaged stage. */
import { readFile, writeFile } from 'node:fs/promises'
import type { Resource } from '../support/serverless.ts'

export interface Template {
  readonly Resources: Readonly<Record<string, Resource>>
}

export const templateFile = (folder: string) => `${folder}/cloudformation-template-update-stack.json`

export const readTemplate = async (folder: string) =>
  JSON.parse(await readFile(templateFile(folder), 'utf8')) as Template

/** Changes the template of a package in both files that `serverless deploy --package` reads. */
export async function changeTemplate(
  folder: string,
  change: (template: Template) => Template,
): Promise<void> {
  const template = change(await readTemplate(folder))
  await writeFile(templateFile(folder), JSON.stringify(template))
  const stateFile = `${folder}/serverless-state.json`
  const state = JSON.parse(await readFile(stateFile, 'utf8')) as {
    service: { provider: { compiledCloudFormationTemplate: Template } }
  }
  state.service.provider.compiledCloudFormationTemplate = template
  await writeFile(stateFile, JSON.stringify(state))
}

export const resourcesOf = ({ Resources }: Template, type: string): Resource[] =>
  Object.values(Resources).filter((resource) => resource.Type === type)

/** The name of a function in the template: `DevicesDashregister` for `devices-register`. */
export const logicalId = (name: string): string =>
  name.replace(/^./, (first) => first.toUpperCase()).replaceAll('-', 'Dash')
