/** AWS's own linter reads the template of each stage. */
import { expect, inject, it } from 'vitest'
import { describeWith } from '../support/backends.ts'
import { runProgram } from '../support/programs.ts'
import { cfnLint } from './cfn-lint.ts'
import { stages } from './setup.ts'
import { templateFile } from './template.ts'

/** Warnings that stay, with the reason. A warning that is not named here fails; so does one here that no longer comes. */
const known: Readonly<Record<string, string>> = {
  W3005: 'The framework gives each route a DependsOn of its integration, to which it refers anyway.',
}

interface Finding {
  readonly Level: string
  readonly Message: string
  readonly Rule: { readonly Id: string }
  readonly Location: { readonly Path: readonly (string | number)[] | null }
}

describeWith({ 'cfn-lint': cfnLint !== undefined }, 'cfn-lint', () => {
  it.each(stages)('has nothing new to say about stage %s', async (stage) => {
    const file = templateFile(`${inject('packages')}/${stage}`)
    const args = ['--format', 'json', '--regions', 'eu-central-1', '--template', file]
    const { out, err } = await runProgram(cfnLint ?? '', args, { cwd: '/' })
    expect(err).toBe('')
    const findings = JSON.parse(out) as Finding[]
    const unknown = findings.filter(({ Level, Rule }) => Level === 'Error' || !(Rule.Id in known))
    expect(
      unknown.map(({ Rule, Location, Message }) => `${Rule.Id} ${Location.Path?.join('/')}: ${Message}`),
    ).toEqual([])
    const told = new Set(findings.map(({ Rule }) => Rule.Id))
    expect(Object.keys(known).filter((id) => !told.has(id))).toEqual([])
  })
})
