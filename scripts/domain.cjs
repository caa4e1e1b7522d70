/** Name of the domain configuration that devices use, for serverless.yml: the one of the parameter mqttDomain, where it is given. */
module.exports = async ({ resolveVariable }) => {
  const domain = await resolveVariable("param:mqttDomain, ''")
  return resolveVariable(domain ? 'self:custom.mqttDomainConfiguration' : 'self:custom.domainConfiguration')
}
