/**
 * Addresses of your own, where the stage parameters name them: mqttDomain with mqttCertificate, and apiDomain with apiCertificate. A
 * certificate is the ARN of one in ACM, in the region of the stage. A program, because each may be left out.
 */
const names = ['mqttDomain', 'mqttCertificate', 'apiDomain', 'apiCertificate']

const ofMqtt = (name, domain, certificate) => ({
  MqttDomain: {
    Type: 'AWS::IoT::DomainConfiguration',
    DependsOn: 'DeviceAuthorizerPermission',
    Properties: {
      DomainConfigurationName: name,
      DomainName: domain,
      ServerCertificateArns: [certificate],
      ServiceType: 'DATA',
      DomainConfigurationStatus: 'ENABLED',
      AuthenticationType: 'CUSTOM_AUTH',
      ApplicationProtocol: 'SECURE_MQTT',
      AuthorizerConfig: {
        DefaultAuthorizerName: { Ref: 'DeviceAuthorizer' },
        AllowAuthorizerOverride: false,
      },
    },
  },
})

const ofApi = (domain, certificate) => ({
  ApiDomain: {
    Type: 'AWS::ApiGatewayV2::DomainName',
    Properties: {
      DomainName: domain,
      DomainNameConfigurations: [
        { CertificateArn: certificate, EndpointType: 'REGIONAL', SecurityPolicy: 'TLS_1_2' },
      ],
    },
  },
  ApiDomainMapping: {
    Type: 'AWS::ApiGatewayV2::ApiMapping',
    DependsOn: 'HttpApiStage',
    Properties: { ApiId: { Ref: 'HttpApi' }, DomainName: { Ref: 'ApiDomain' }, Stage: '$default' },
  },
})

module.exports = async ({ resolveVariable }) => {
  const [mqtt, mqttCertificate, api, apiCertificate] = await Promise.all(
    names.map((name) => resolveVariable(`param:${name}, ''`)),
  )
  if (!mqtt !== !mqttCertificate || !api !== !apiCertificate)
    throw new Error(
      'mqttDomain and mqttCertificate, apiDomain and apiCertificate belong together: set both or none.',
    )
  const name = await resolveVariable('self:custom.usedDomainConfiguration')
  return {
    Resources: { ...(mqtt && ofMqtt(name, mqtt, mqttCertificate)), ...(api && ofApi(api, apiCertificate)) },
    ...(api && {
      Outputs: {
        ApiDomainTarget: {
          Description: 'Where a CNAME of the domain of the API points to',
          Value: { 'Fn::GetAtt': ['ApiDomain', 'RegionalDomainName'] },
        },
      },
    }),
  }
}
