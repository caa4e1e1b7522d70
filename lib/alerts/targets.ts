/** Which devices a rule is about. */
import { fitsSelector, parseSelector } from '../registry/selector.ts'
import type { RuleTarget } from './rule.ts'

/** A device, as far as a target asks for it. */
export interface Targeted {
  readonly id: number
  readonly deviceType: string
  readonly labels: Readonly<Record<string, string>>
}

/** @returns whether a device fits every part of the target. */
export function fitsTarget({ device_id, device_type, selector }: RuleTarget): (device: Targeted) => boolean {
  const terms = selector === undefined ? undefined : parseSelector(selector)
  return ({ id, deviceType, labels }) =>
    (device_id === undefined || device_id === id) &&
    (device_type === undefined || device_type === deviceType) &&
    (terms === undefined || fitsSelector(terms, labels))
}
