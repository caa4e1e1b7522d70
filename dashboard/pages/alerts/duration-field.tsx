/** A duration as a number and its unit. */
import type { ComponentChildren } from 'preact'
import { useId } from 'preact/hooks'
import type { TypedDuration } from './rule-draft.ts'
import { typedUnits } from './words.ts'

interface DurationFieldProps {
  label: string
  value: TypedDuration
  onInput: (value: TypedDuration) => void
  hint?: ComponentChildren
  error?: string | undefined
  required?: boolean
}

export const DurationField = ({ label, value, onInput, hint, error, required }: DurationFieldProps) => {
  const id = useId()
  const described = [hint === undefined ? '' : `${id}-hint`, error === undefined ? '' : `${id}-error`]
    .filter(Boolean)
    .join(' ')
  return (
    <div class={`field${error === undefined ? '' : ' wrong'}`}>
      <label for={id}>{label}</label>
      <div class="duration">
        <input
          id={id}
          type="number"
          min={required ? 1 : 0}
          max={1_000_000}
          step={1}
          value={value.number}
          required={required}
          aria-describedby={described || undefined}
          onInput={(event) => onInput({ ...value, number: event.currentTarget.value })}
        />
        <select
          aria-label={`${label}: unit`}
          onChange={(event) => onInput({ ...value, unit: event.currentTarget.value })}
        >
          {typedUnits.map(([unit, text]) => (
            <option key={unit} value={unit} selected={unit === value.unit}>
              {text}
            </option>
          ))}
        </select>
      </div>
      {hint !== undefined && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {error !== undefined && (
        <p class="error-text" id={`${id}-error`}>
          {error}
        </p>
      )}
    </div>
  )
}
