/** A choice of one, where each possibility needs a sentence. */
import { useId } from 'preact/hooks'

interface RadioListProps<Value extends string> {
  legend: string
  options: readonly { readonly value: Value; readonly title: string; readonly text: string }[]
  value: Value
  onChange: (value: Value) => void
}

export const RadioList = <Value extends string>(props: RadioListProps<Value>) => {
  const { legend, options, value, onChange } = props
  const id = useId()
  return (
    <fieldset class="form-part">
      <legend>{legend}</legend>
      <div class="radio-list">
        {options.map((option) => (
          <label key={option.value} class={option.value === value ? 'chosen' : undefined}>
            <input
              type="radio"
              name={id}
              checked={option.value === value}
              aria-labelledby={`${id}-${option.value}`}
              aria-describedby={`${id}-${option.value}-text`}
              onChange={() => onChange(option.value)}
            />
            <span>
              <span class="radio-title" id={`${id}-${option.value}`}>
                {option.title}
              </span>
              <span class="hint" id={`${id}-${option.value}-text`}>
                {option.text}
              </span>
            </span>
          </label>
        ))}
      </div>
    </fieldset>
  )
}
