/** Form fields with their label, a hint, and the error that belongs to them. */
import type { ComponentChildren } from 'preact'
import { useId } from 'preact/hooks'
import type { ApiError } from '../api.ts'

interface Shared {
  label: string
  value: string
  onInput: (value: string) => void
  hint?: ComponentChildren
  error?: string | undefined
  required?: boolean
  disabled?: boolean
}

interface TextProps extends Shared {
  type?: 'text' | 'password' | 'search' | 'number' | 'datetime-local'
  placeholder?: string
  maxLength?: number
  autocomplete?: string
  /** More than one makes a text area. */
  rows?: number
  mono?: boolean
  /** Gets the focus when it appears. */
  autofocus?: boolean
  /** The label is for screen readers only. */
  hideLabel?: boolean
}

const focusOnce = (element: HTMLElement | null) => {
  if (element && !element.dataset.focused) {
    element.dataset.focused = 'true'
    // A dialog that opens around it gives the focus to its first button, unless one of its elements asks for it.
    element.autofocus = true
    element.focus()
  }
}

const Around = (props: {
  id: string
  label: string
  hideLabel?: boolean | undefined
  hint?: ComponentChildren
  error?: string | undefined
  children: ComponentChildren
}) => (
  <div class={`field${props.error === undefined ? '' : ' wrong'}`}>
    <label for={props.id} class={props.hideLabel ? 'for-readers' : undefined}>
      {props.label}
    </label>
    {props.children}
    {props.error !== undefined && (
      <p class="error-text" id={`${props.id}-error`}>
        {props.error}
      </p>
    )}
    {props.hint !== undefined && (
      <p class="hint" id={`${props.id}-hint`}>
        {props.hint}
      </p>
    )}
  </div>
)

const described = (id: string, hint: unknown, error: unknown) =>
  [error === undefined ? '' : `${id}-error`, hint === undefined ? '' : `${id}-hint`]
    .filter(Boolean)
    .join(' ') || undefined

export const Field = (props: TextProps) => {
  const {
    label,
    value,
    onInput,
    hint,
    error,
    hideLabel,
    rows,
    mono,
    autofocus,
    type = 'text',
    ...rest
  } = props
  const id = useId()
  const shared = {
    ...rest,
    id,
    value,
    class: mono ? 'mono' : undefined,
    'aria-describedby': described(id, hint, error),
    'aria-invalid': error === undefined ? undefined : (true as const),
    ref: autofocus ? focusOnce : null,
    spellcheck: false,
  }
  return (
    <Around {...{ id, label, hideLabel, hint, error }}>
      {rows === undefined ? (
        <input
          {...shared}
          // The types of Preact tell inputs apart by a literal.
          type={type as 'text'}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      ) : (
        <textarea {...shared} rows={rows} onInput={(event) => onInput(event.currentTarget.value)} />
      )}
    </Around>
  )
}

interface SelectProps extends Shared {
  options: readonly (readonly [value: string, text: string])[]
  hideLabel?: boolean
}

export const Select = ({ label, value, onInput, hint, error, options, hideLabel, ...rest }: SelectProps) => {
  const id = useId()
  return (
    <Around {...{ id, label, hideLabel, hint, error }}>
      <select
        {...rest}
        id={id}
        aria-describedby={described(id, hint, error)}
        onChange={(event) => onInput(event.currentTarget.value)}
      >
        {options.map(([option, text]) => (
          <option key={option} value={option} selected={option === value}>
            {text}
          </option>
        ))}
      </select>
    </Around>
  )
}

interface CheckboxProps {
  label: ComponentChildren
  checked: boolean
  onChange: (checked: boolean) => void
  /** For a box that stands for several, of which some are checked. */
  mixed?: boolean
  hideLabel?: boolean
}

export const Checkbox = ({ label, checked, onChange, mixed = false, hideLabel }: CheckboxProps) => (
  <label class="checkbox">
    <input
      type="checkbox"
      checked={checked}
      indeterminate={mixed}
      onChange={(event) => onChange(event.currentTarget.checked)}
    />
    <span class={hideLabel ? 'for-readers' : undefined}>{label}</span>
  </label>
)

/** The server's word on one field of a form: `errorAt(error, 'name')`. */
export const errorAt = (error: ApiError | undefined, path: string) =>
  error?.details.find((detail) => detail.path === path || detail.path.endsWith(`.${path}`))?.message
