import { createRequire } from 'node:module'
import { expect, it } from 'vitest'

const ownDomains = createRequire(import.meta.url)('../../cloud/own-domains.cjs') as (source: {
  resolveVariable(variable: string): Promise<string>
}) => Promise<{ Resources: Record<string, unknown>; Outputs?: unknown }>

const withParameters = (parameters: Readonly<Record<string, string>>) =>
  ownDomains({
    resolveVariable: async (variable) => parameters[/^param:(\w+)/.exec(variable)?.[1] ?? ''] ?? '',
  })

it('adds nothing where no parameter names a domain, or names an empty one', async () => {
  expect(await withParameters({})).toEqual({ Resources: {} })
  expect(await withParameters({ mqttDomain: '', apiCertificate: '' })).toEqual({ Resources: {} })
})

it('adds each domain that has a certificate', async () => {
  const mqtt = await withParameters({ mqttDomain: 'mqtt.example.com', mqttCertificate: 'arn:1' })
  expect(Object.keys(mqtt.Resources)).toEqual(['MqttDomain'])
  const api = await withParameters({ apiDomain: 'api.example.com', apiCertificate: 'arn:2' })
  expect(Object.keys(api.Resources)).toEqual(['ApiDomain', 'ApiDomainMapping'])
  expect(api.Outputs).toHaveProperty('ApiDomainTarget')
})

it.each(['mqttDomain', 'mqttCertificate', 'apiDomain', 'apiCertificate'])(
  'refuses %s alone',
  async (name) => {
    await expect(withParameters({ [name]: 'one' })).rejects.toThrow(/belong together/)
  },
)
