/** Schemas of alert rules and of what operators say about alerts, for the endpoints that take them. */
import * as z from 'zod'
import { identity } from '../devices/fields.ts'
import { selectorText } from '../registry/selector.ts'
import { conditionKinds, conditionProblem, durationMs, operators, severities } from './rule.ts'

export const severity = z.enum(severities, 'must be critical, warning or info')

/** Warnings and dead letters are counted for so long, ms. */
const longestWindowMs = 7 * 86_400_000

const duration = z.string('must be a duration such as 30s, 5m or 1h30m').meta({ examples: ['5m'] })

const window = duration.refine(
  (text) => (durationMs(text) ?? 0) <= longestWindowMs,
  'must be a duration of at most 7d, such as 30s, 5m or 1h30m',
)

const field = z
  .string('must be the name of a field')
  .min(1, 'must not be empty')
  .max(128, 'must have at most 128 characters')
  .transform((name) => name.normalize('NFC'))

const value = z.union(
  [z.number(), z.boolean(), z.string().max(4096)],
  'must be a number, true, false, or a text of at most 4096 characters',
)

const count = z
  .int('must be a whole number')
  .min(1, 'must be 1 or more')
  .max(1_000_000, 'must be at most 1000000')

const conditionShapes = z.discriminatedUnion(
  'kind',
  [
    z.object({
      kind: z.literal('threshold'),
      field,
      op: z.enum(operators, `must be one of ${operators.join(' ')}`),
      value,
      for: duration.optional(),
      clear_value: z.number('must be a number').optional(),
      clear_for: duration.optional(),
    }),
    z.object({ kind: z.literal('no_data'), for: duration }),
    z.object({ kind: z.literal('offline'), for: duration.optional() }),
    z.object({ kind: z.literal('warnings'), count, within: window }),
    z.object({ kind: z.literal('dead_letters'), count, within: window }),
  ],
  {
    error: ({ input }) =>
      typeof input === 'object' && input !== null
        ? `must be one of ${conditionKinds.join(', ')}`
        : 'must be a JSON object',
  },
)

/** When an alert opens, and when it is cleared. */
export const condition = conditionShapes.superRefine((given, { addIssue }) => {
  const problem = conditionProblem(given)
  if (problem !== undefined) addIssue({ code: 'custom', path: [problem.path], message: problem.message })
})

const targetFields = {
  device_id: z
    .int('must be the id of a device')
    .min(1, 'must be the id of a device')
    .max(999_999_999_999_999, 'must be the id of a device')
    .optional(),
  device_type: z
    .string('must be a text')
    .min(1, 'must not be empty')
    .max(64, 'must have at most 64 characters')
    .optional(),
  selector: selectorText.optional(),
}

/** An unknown name is refused here: a misspelt one would make the rule concern more devices than meant. */
const target = z
  .looseObject(targetFields, 'must be a JSON object')
  .superRefine((given, { addIssue }) => {
    for (const name of Object.keys(given))
      if (!Object.hasOwn(targetFields, name))
        addIssue({ code: 'custom', path: [name], message: 'is not device_id, device_type or selector' })
  })
  .transform(({ device_id, device_type, selector }) => ({ device_id, device_type, selector }))

/** The fields of a rule. */
export const ruleFields = {
  name: identity.name,
  enabled: z.boolean('must be true or false'),
  severity,
  target,
  condition,
}

export const ruleDescriptions = {
  name: 'What it is called in lists and messages.',
  enabled: 'Whether it is judged.',
  severity: '`warning` if left out.',
  target: 'The devices that it is about: those that fit all given parts; every device where there is none.',
  condition: 'When an alert opens, and when it is cleared.',
}

/** A text of an operator about an alert. */
export const note = z
  .string('must be a text')
  .max(2000, 'must have at most 2000 characters')
  .trim()
  .min(1, 'must not be empty')
