import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { iotDomainReader } from '../../../lib/broker/iot-domain.ts'

/** A control plane of AWS IoT that answers each request with this. */
const controlPlane = async (status: number, answer: object) => {
  const requests: { url: string | undefined; authorization: string | undefined }[] = []
  const server = createServer(({ url, headers }, response) => {
    requests.push({ url, authorization: headers.authorization })
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const read = iotDomainReader({
    name: 'iotflow-dev',
    controlPlane: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    region: 'eu-central-1',
    accessKeyId: 'id',
    secretAccessKey: 'hunter2',
    sessionToken: undefined,
  })
  return { read, requests }
}

const described = {
  domainConfigurationName: 'iotflow-dev',
  domainName: 'd0774-ats.iot.eu-central-1.amazonaws.com',
  domainConfigurationStatus: 'ENABLED',
  applicationProtocol: 'SECURE_MQTT',
  authorizerConfig: { defaultAuthorizerName: 'iotflow-dev', allowAuthorizerOverride: false },
}

it('tells the host that AWS has picked, with one signed request for many devices', async () => {
  const { read, requests } = await controlPlane(200, described)
  const answers = await Promise.all([read(), read(), read()])
  expect(answers).toEqual(
    Array(3).fill({ host: described.domainName, isMqttOnly: true, authorizer: 'iotflow-dev' }),
  )
  expect(requests).toEqual([
    {
      url: '/domainConfigurations/iotflow-dev',
      authorization: expect.stringMatching(
        /^AWS4-HMAC-SHA256 Credential=id\/\d+\/eu-central-1\/iot\/aws4_request/,
      ),
    },
  ])
})

it.each([undefined, 'DEFAULT'])(
  'with the protocol %s a client has to name MQTT by ALPN',
  async (protocol) => {
    const { read } = await controlPlane(200, { ...described, applicationProtocol: protocol })
    expect(await read()).toMatchObject({ isMqttOnly: false })
  },
)

it.each([
  [404, { message: 'there is none' }],
  [403, { message: 'no right' }],
  [200, { ...described, domainConfigurationStatus: 'DISABLED' }],
])('without a usable answer (%s) the address is unavailable', async (status, answer) => {
  const { read } = await controlPlane(status, answer)
  await expect(read()).rejects.toMatchObject({ code: 'UNAVAILABLE', retryAfterS: 60 })
})
