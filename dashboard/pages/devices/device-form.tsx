/** The fields of a device, for the dialogs that register and edit one. */
import type { ApiError } from '../../api.ts'
import { type Labels, labelChanges, labelLines, parseLabels } from '../../labels.ts'
import { errorAt, Field } from '../../ui/field.tsx'
import type { ListedDevice } from './answers.ts'

const fields = [
  { name: 'name', label: 'Name', max: 128, required: true },
  {
    name: 'device_type',
    label: 'Type',
    max: 64,
    required: true,
    hint: 'Any word, such as climate or pump: devices are filtered by it.',
  },
  { name: 'location', label: 'Location', max: 256 },
  { name: 'description', label: 'Description', max: 1024, rows: 2 },
  {
    name: 'timezone',
    label: 'Time zone',
    max: 64,
    hint: 'IANA name, such as Europe/Berlin. Empty means UTC.',
  },
  { name: 'firmware_version', label: 'Firmware', max: 64 },
  { name: 'hardware_version', label: 'Hardware', max: 64 },
] as const

type FieldName = (typeof fields)[number]['name']
export const fieldNames: readonly string[] = [...fields.map(({ name }) => name), 'labels']

/** Whether every device needs the field. */
export const isMainField = (name: string) =>
  fields.some((field) => field.name === name && 'required' in field)

export type DeviceTexts = Readonly<Record<FieldName | 'labels', string>>

export const textsOf = (device?: Pick<ListedDevice, FieldName | 'labels'>): DeviceTexts => ({
  ...(Object.fromEntries(fields.map(({ name }) => [name, device?.[name] ?? ''])) as Record<
    FieldName,
    string
  >),
  labels: labelLines(device?.labels ?? {}),
})

/**
 * The texts as the API takes them: an empty one clears the field.
 * @param before the labels that the device has; those that are gone from the text are removed.
 */
export const bodyOf = (texts: DeviceTexts, before: Labels = {}) => ({
  ...(Object.fromEntries(
    fields.map((field) => [
      field.name,
      texts[field.name] === '' && !('required' in field) ? null : texts[field.name],
    ]),
  ) as Record<FieldName, string | null>),
  labels: labelChanges(before, parseLabels(texts.labels).labels),
})

/** Whether the labels can be read as they are typed. */
export const areLabelsRight = ({ labels }: DeviceTexts) => parseLabels(labels).error === undefined

interface DeviceFieldsProps {
  texts: DeviceTexts
  onChange: (texts: DeviceTexts) => void
  error: ApiError | undefined
  /** Those that every device needs, or the others; all when it is not given. */
  only?: 'main' | 'more'
}

export const DeviceFields = ({ texts, onChange, error, only }: DeviceFieldsProps) => (
  <>
    {fields
      .filter(({ name }) => only === undefined || isMainField(name) === (only === 'main'))
      .map((field) => (
        <Field
          key={field.name}
          label={field.label}
          value={texts[field.name]}
          onInput={(value) => onChange({ ...texts, [field.name]: value })}
          maxLength={field.max}
          required={'required' in field}
          autofocus={field.name === 'name' && only === undefined}
          autocomplete="off"
          error={errorAt(error, field.name)}
          {...('hint' in field ? { hint: field.hint } : {})}
          {...('rows' in field ? { rows: field.rows } : {})}
        />
      ))}
    {only !== 'main' && (
      <Field
        label="Labels"
        value={texts.labels}
        onInput={(labels) => onChange({ ...texts, labels })}
        rows={3}
        mono
        placeholder="site=north"
        hint="One in a line, such as site=north. Lists, alerts and commands select devices by them."
        error={parseLabels(texts.labels).error ?? errorAt(error, 'labels')}
      />
    )}
  </>
)
