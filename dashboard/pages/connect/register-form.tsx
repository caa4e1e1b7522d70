/** The form that registers a device: a name and a type, and the other fields for those who want them. */
import { useState } from 'preact/hooks'
import type { ApiError } from '../../api.ts'
import { live } from '../../live.ts'
import { Button } from '../../ui/button.tsx'
import { ErrorNotice } from '../../ui/states.tsx'
import {
  areLabelsRight,
  bodyOf,
  DeviceFields,
  fieldNames,
  isMainField,
  textsOf,
} from '../devices/device-form.tsx'
import { type Connected, register } from './connected.ts'

const firstDevice = { ...textsOf(), name: 'my-first-device', device_type: 'temperature' }

/** Whether the fields of the form show all that is wrong. */
const isShownByFields = ({ details }: ApiError) =>
  details.length > 0 && details.every(({ path }) => fieldNames.some((name) => name === path))

export const RegisterForm = ({ onConnected }: { onConnected: (device: Connected) => void }) => {
  const isFirst = live.overview.peek()?.devices.total === 0
  const [texts, setTexts] = useState(isFirst ? firstDevice : textsOf())
  const [error, setError] = useState<ApiError>()
  const [busy, setBusy] = useState(false)
  const submit = async (event: Event) => {
    event.preventDefault()
    if (busy) return
    setBusy(true)
    const result = await register(bodyOf(texts))
    setBusy(false)
    if ('code' in result) setError(result)
    else onConnected(result)
  }
  const fields = { texts, onChange: setTexts, error }
  const isMoreWrong = error?.details.some(({ path }) => !isMainField(path)) === true
  return (
    <form class="form" onSubmit={submit}>
      <div class="form-row">
        <DeviceFields {...fields} only="main" />
      </div>
      <details class="more" open={isMoreWrong || undefined}>
        <summary>More</summary>
        <div class="form">
          <DeviceFields {...fields} only="more" />
        </div>
      </details>
      {error && !isShownByFields(error) && <ErrorNotice error={error} />}
      <div class="actions">
        <Button type="submit" kind="primary" busy={busy} disabled={!areLabelsRight(texts)}>
          Register the device
        </Button>
      </div>
    </form>
  )
}
