/** New keys: shown once, to be copied or saved before the dialog closes. */
import { csvLine, withoutFormula } from '../../../lib/csv.ts'
import { saveFile } from '../../save-file.ts'
import { Button, CopyButton } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'

export interface DeviceKey {
  readonly id: number
  readonly name: string
  readonly api_key: string
}

const saveKeys = (keys: readonly DeviceKey[]) =>
  saveFile(
    'iotflow-keys.csv',
    [
      csvLine(['id', 'name', 'api_key']),
      ...keys.map(({ id, name, api_key }) => csvLine([id, withoutFormula(name), api_key])),
    ],
    'text/csv',
  )

const OnceOnly = ({ many }: { many: boolean }) => (
  <div class="notice warn">
    <Icon name="key" />
    <div>
      <p>
        {many
          ? 'Save these keys now; they cannot be shown again.'
          : 'Copy this key now; it cannot be shown again.'}
      </p>
    </div>
  </div>
)

/** The key of one device. */
export const NewKey = ({ device }: { device: DeviceKey }) => (
  <div class="stack">
    <OnceOnly many={false} />
    <div class="key-box">
      <code data-testid="api-key">{device.api_key}</code>
      <CopyButton text={device.api_key} what="the key">
        Copy
      </CopyButton>
    </div>
  </div>
)

/** The keys of several devices, as a file. */
export const NewKeys = ({ keys, onSaved }: { keys: readonly DeviceKey[]; onSaved: () => void }) => (
  <div class="stack">
    <OnceOnly many />
    <div>
      <Button
        kind="primary"
        icon="download"
        onClick={() => {
          saveKeys(keys)
          onSaved()
        }}
      >
        {keys.length === 1 ? 'Save the key' : `Save ${keys.length.toLocaleString()} keys`}
      </Button>
    </div>
  </div>
)
