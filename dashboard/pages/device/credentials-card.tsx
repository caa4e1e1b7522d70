/** The keys of a device: when they were made and used, and the ways to make and to end them. */
import { useState } from 'preact/hooks'
import type { ApiError } from '../../api.ts'
import { laterTime } from '../../format.ts'
import { Button } from '../../ui/button.tsx'
import { confirm, Dialog } from '../../ui/dialog.tsx'
import { Select } from '../../ui/field.tsx'
import { Card } from '../../ui/layout.tsx'
import { ErrorNotice } from '../../ui/states.tsx'
import { Badge } from '../../ui/status.tsx'
import { Time } from '../../ui/time.tsx'
import { toast } from '../../ui/toast.tsx'
import type { DeviceDetails } from '../devices/answers.ts'
import { graces, type RotatedKey, revokeKeys, rotateKey } from '../devices/calls.ts'
import { NewKey } from '../devices/keys.tsx'

type AuthRecord = DeviceDetails['auth_records'][number]

const stateOf = ({ is_active, revoked_at }: AuthRecord) =>
  is_active ? <Badge tone="good">valid</Badge> : <Badge>{revoked_at === null ? 'expired' : 'revoked'}</Badge>

interface KeyLineProps {
  record: AuthRecord
  lastUsed: string | null
  onRevoke: () => void
}

const KeyLine = ({ record, lastUsed, onRevoke }: KeyLineProps) => {
  const { key_prefix: prefix, created_at, expires_at, revoked_at, is_active } = record
  return (
    <li>
      <code>{prefix}…</code>
      {stateOf(record)}
      <span class="small muted key-times">
        <span>
          made <Time time={created_at} />
        </span>
        <span>
          {lastUsed === null ? (
            'never used'
          ) : (
            <>
              used <Time time={lastUsed} />
            </>
          )}
        </span>
        {revoked_at !== null && (
          <span>
            revoked <Time time={revoked_at} />
          </span>
        )}
        {revoked_at === null && expires_at !== null && (
          <span>
            {is_active ? 'expires' : 'expired'} <Time time={expires_at} />
          </span>
        )}
      </span>
      {is_active && (
        <Button small kind="quiet" onClick={onRevoke}>
          Revoke
        </Button>
      )}
    </li>
  )
}

interface RotateProps {
  device: { readonly id: number; readonly name: string }
  onClose: () => void
  onChanged: () => void
}

const RotateKey = ({ device, onClose, onChanged }: RotateProps) => {
  const [grace, setGrace] = useState('86400')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const [made, setMade] = useState<RotatedKey>()
  const rotate = async () => {
    setBusy(true)
    const answer = await rotateKey(device.id, Number(grace))
    setBusy(false)
    if (!answer.ok) return setError(answer.error)
    setMade(answer.value)
    onChanged()
  }
  return (
    <Dialog
      title={made === undefined ? 'Make a new key' : `The new key of ${device.name}`}
      onClose={onClose}
      actions={
        made === undefined ? (
          <>
            <Button onClick={onClose}>Cancel</Button>
            <Button kind="primary" busy={busy} onClick={() => void rotate()}>
              Make a new key
            </Button>
          </>
        ) : (
          <Button kind="primary" onClick={onClose}>
            Done
          </Button>
        )
      }
    >
      {error && <ErrorNotice error={error} />}
      {made === undefined ? (
        <Select
          label="The key in use stays valid"
          value={grace}
          onInput={setGrace}
          options={graces}
          hint="Long enough for the device to get the new one."
        />
      ) : (
        <NewKey device={{ ...device, api_key: made.api_key }} />
      )}
    </Dialog>
  )
}

interface CredentialsCardProps {
  details: DeviceDetails
  /** ISO 8601. */
  lastSeen: string | null
  onChanged: () => void
}

/**
 * When a key was used last. The server notes it every few minutes only; a device with one valid key has used that one when it was
 * seen.
 */
const lastUseOf = (record: AuthRecord, records: readonly AuthRecord[], lastSeen: string | null) => {
  const isOnlyOne = record.is_active && records.filter(({ is_active }) => is_active).length === 1
  return record.last_used !== null && isOnlyOne ? laterTime(record.last_used, lastSeen) : record.last_used
}

export const CredentialsCard = ({ details, lastSeen, onChanged }: CredentialsCardProps) => {
  const [rotating, setRotating] = useState(false)
  const { device, auth_records: records } = details
  const revoke = async (prefix?: string) => {
    const agreed = await confirm({
      title: prefix === undefined ? 'Revoke all keys?' : `Revoke the key ${prefix}…?`,
      text: `${device.name} is cut off at once if it uses ${prefix === undefined ? 'one of them' : 'this key'}.`,
      action: 'Revoke',
      danger: true,
    })
    if (!agreed) return
    const answer = await revokeKeys(device.id, prefix)
    toast(
      answer.ok ? `Revoked: ${answer.value.revoked_keys}.` : answer.error.message,
      answer.ok ? 'good' : 'bad',
    )
    onChanged()
  }
  const areAnyValid = records.some(({ is_active }) => is_active)
  return (
    <Card
      title="Keys"
      aside={
        <div class="actions">
          {areAnyValid && (
            <Button small kind="quiet" onClick={() => void revoke()}>
              Revoke all
            </Button>
          )}
          <Button small icon="key" onClick={() => setRotating(true)}>
            New key
          </Button>
        </div>
      }
    >
      {records.length === 0 && <p class="muted">The device has no key: it cannot connect.</p>}
      <ul class="keys">
        {records.map((record) => (
          <KeyLine
            key={`${record.key_prefix} ${record.created_at}`}
            record={record}
            lastUsed={lastUseOf(record, records, lastSeen)}
            onRevoke={() => void revoke(record.key_prefix)}
          />
        ))}
      </ul>
      {rotating && <RotateKey device={device} onClose={() => setRotating(false)} onChanged={onChanged} />}
    </Card>
  )
}
