/**
 * The VPC of the functions, for databases that are in one; off unless both parameters are set. Several ids are separated by
 * commas.
 */
const idsOf = (text) =>
  String(text ?? '')
    .split(',')
    .map((id) => id.trim())
    .filter((id) => id !== '')

module.exports = async ({ resolveVariable }) => {
  const subnetIds = idsOf(await resolveVariable('param:vpcSubnetIds'))
  const securityGroupIds = idsOf(await resolveVariable('param:vpcSecurityGroupIds'))
  if ((subnetIds.length === 0) !== (securityGroupIds.length === 0))
    throw new Error('vpcSubnetIds and vpcSecurityGroupIds belong together: set both or none.')
  return subnetIds.length === 0 ? null : { subnetIds, securityGroupIds }
}
