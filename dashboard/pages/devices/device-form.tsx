/** The fields of a device, for the dialogs that register and edit one. */
import type { ApiError } from '../../api.ts'
import { errorAt, Field } from '../../ui/field.tsx'
import type { ListedDevice } from './answers.ts'

const fields = [
  { name: 'name', label: 'Name', max: 128, required: true },
  { name: 'device_type', label: 'Type', max: 64, required: true, hint: 'Such as climate or pump.' },
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
export type DeviceTexts = Readonly<Record<FieldName, string>>

export const textsOf = (device?: Pick<ListedDevice, FieldName>): DeviceTexts =>
  Object.fromEntries(fields.map(({ name }) => [name, device?.[name] ?? ''])) as DeviceTexts

/** The texts as the API takes them: an empty one clears the field. */
export const bodyOf = (texts: DeviceTexts): Readonly<Record<FieldName, string | null>> =>
  Object.fromEntries(
    fields.map((field) => [
      field.name,
      texts[field.name] === '' && !('required' in field) ? null : texts[field.name],
    ]),
  ) as Record<FieldName, string | null>

interface DeviceFieldsProps {
  texts: DeviceTexts
  onChange: (texts: DeviceTexts) => void
  error: ApiError | undefined
}

export const DeviceFields = ({ texts, onChange, error }: DeviceFieldsProps) => (
  <>
    {fields.map((field, at) => (
      <Field
        key={field.name}
        label={field.label}
        value={texts[field.name]}
        onInput={(value) => onChange({ ...texts, [field.name]: value })}
        maxLength={field.max}
        required={'required' in field}
        autofocus={at === 0}
        autocomplete="off"
        error={errorAt(error, field.name)}
        {...('hint' in field ? { hint: field.hint } : {})}
        {...('rows' in field ? { rows: field.rows } : {})}
      />
    ))}
  </>
)
