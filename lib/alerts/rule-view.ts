/** Alert rules as answers show them, and the check of what a new one names. */
import type { Devices } from '../devices/devices.ts'
import { AppError } from '../errors.ts'
import { formatMillis } from '../iso-time.ts'
import type { Rule, RuleTarget } from './rule.ts'

export const ruleView = (rule: Rule) => ({
  id: rule.id,
  revision: rule.revision,
  name: rule.name,
  enabled: rule.enabled,
  severity: rule.severity,
  target: rule.target,
  condition: rule.condition,
  created_at: formatMillis(rule.createdAt),
  updated_at: formatMillis(rule.updatedAt),
  open_alerts: rule.openAlerts,
})

export const unknownRule = () => new AppError('NOT_FOUND', 'There is no such alert rule.')

/** @throws {AppError} VALIDATION_FAILED when the target names a device that is not registered. */
export async function refuseUnknownDevice(
  devices: Pick<Devices, 'findMany'>,
  target: RuleTarget | undefined,
): Promise<void> {
  const id = target?.device_id
  if (id === undefined || (await devices.findMany([id])).size > 0) return
  throw new AppError('VALIDATION_FAILED', 'The body is not valid: target.device_id: is no device.', {
    details: [{ path: 'target.device_id', message: 'is no device' }],
  })
}
