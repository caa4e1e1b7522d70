/** The dialog that registers a device. It uses the import, which an admin may always call: registration asks for another key. */
import { useState } from 'preact/hooks'
import { type ApiError, post } from '../../api.ts'
import { href } from '../../router.ts'
import { Button, ButtonLink } from '../../ui/button.tsx'
import { Dialog } from '../../ui/dialog.tsx'
import { ErrorNotice } from '../../ui/states.tsx'
import type { ImportAnswer, NewKey as Key } from './answers.ts'
import { bodyOf, DeviceFields, textsOf } from './device-form.tsx'
import { NewKey } from './keys.tsx'

/** A row that was refused, in the form of an error of the API: `name: is taken; device_type: must not be empty`. */
const refused = (reason: string): ApiError => ({
  status: 422,
  code: 'VALIDATION_FAILED',
  message: reason,
  details: [],
  requestId: undefined,
  retryAfterS: undefined,
})

export const CreateDevice = ({ onClose, onCreated }: { onClose: () => void; onCreated: () => void }) => {
  const [texts, setTexts] = useState(textsOf())
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const [made, setMade] = useState<Key>()

  const create = async () => {
    setBusy(true)
    const answer = await post<ImportAnswer>('admin/devices/import', `${JSON.stringify(bodyOf(texts))}\n`, {
      contentType: 'application/x-ndjson',
    })
    setBusy(false)
    const [key] = answer.ok ? answer.value.keys : []
    if (key !== undefined) {
      setMade(key)
      onCreated()
    } else
      setError(
        answer.ok ? refused(answer.value.errors[0]?.reason ?? 'Nothing was registered.') : answer.error,
      )
  }

  if (made !== undefined)
    return (
      <Dialog
        title={`${made.name} is registered`}
        onClose={onClose}
        actions={
          <>
            <ButtonLink href={href(`/devices/${made.id}`)}>Open its page</ButtonLink>
            <Button kind="primary" onClick={onClose}>
              Done
            </Button>
          </>
        }
      >
        <NewKey device={made} />
      </Dialog>
    )
  return (
    <Dialog title="Register a device" onClose={onClose}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault()
          void create()
        }}
      >
        {error && <ErrorNotice error={error} />}
        <DeviceFields texts={texts} onChange={setTexts} error={error} />
        <div class="actions end">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" busy={busy}>
            Register
          </Button>
        </div>
      </form>
    </Dialog>
  )
}
