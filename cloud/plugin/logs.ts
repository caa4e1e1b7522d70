/** One log group for the functions of an area, because a stack has at most 500 resources. */
import type { ServiceDefinition } from './roles.ts'

/** `telemetry` of `telemetry-ingest`. */
const areaOf = (functionName: string) => functionName.replace(/-.*/, '')

/**
 * Lets every function write into the log group `/aws/lambda/<service>-<stage>-<area>`, and adds these groups. Each stream of a
 * group has the name of its function in its own.
 */
export function addLogGroups(service: ServiceDefinition, stage: string): void {
  const { provider, functions } = service
  const groups: Record<string, unknown> = {}
  for (const [name, definition] of Object.entries(functions)) {
    const area = areaOf(name)
    const id = `${area.replace(/^./, (first) => first.toUpperCase())}Logs`
    const logGroup = `/aws/lambda/${service.service}-${stage}-${area}`
    groups[id] = {
      Type: 'AWS::Logs::LogGroup',
      Properties: { LogGroupName: logGroup, RetentionInDays: provider.logRetentionInDays },
    }
    // The framework makes no group of the function then.
    definition.disableLogs = true
    definition.logs = { logGroup }
    definition.dependsOn = [id]
  }
  service.resources = { ...service.resources, Resources: { ...service.resources?.Resources, ...groups } }
}
