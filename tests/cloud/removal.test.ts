import { createRequire } from 'node:module'
import { expect, it } from 'vitest'

interface Kept {
  readonly name: string
  readonly type: string
  readonly id: string
}

const Removal = createRequire(import.meta.url)('../../cloud/removal.cjs') as new (
  serverless: object,
  options: object,
  tools: { log: { notice(text: string): void } },
) => { kept: readonly Kept[]; sayWhatStays(): void }

const saidOf = (kept: readonly Kept[]) => {
  const said: string[] = []
  const log = { notice: (text: string) => void said.push(text) }
  const serverless = { getProvider: () => ({ getStage: () => 'dev' }), service: { service: 'iotflow' } }
  const removal = new Removal(serverless, {}, { log })
  removal.kept = kept
  removal.sayWhatStays()
  return said.join('\n')
}

it('says how to get rid of the domain configuration, and how to deploy before AWS lets it go', () => {
  const said = saidOf([{ name: 'DeviceDomain', type: 'AWS::IoT::DomainConfiguration', id: 'iotflow-dev' }])
  expect(said).toContain(
    'aws iot update-domain-configuration --domain-configuration-name iotflow-dev --domain-configuration-status DISABLED\n' +
      '  aws iot delete-domain-configuration --domain-configuration-name iotflow-dev ',
  )
  expect(said).toContain('--param domainConfiguration=<another name>')
  expect(said).not.toContain('Log groups')
})

it('says nothing where nothing stays', () => {
  expect(saidOf([])).toBe('')
})
