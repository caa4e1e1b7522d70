/** One dead letter with its whole payload. */
import { useState } from 'preact/hooks'
import type { DeadLetter, DeadLetterDetails } from '../answers.ts'
import { get } from '../api.ts'
import { bytes, count, localTime } from '../format.ts'
import { bytesOf, hexOf, textOf } from '../payload.ts'
import { useResource } from '../resource.ts'
import { href } from '../router.ts'
import { Button, CopyButton } from '../ui/button.tsx'
import { Dialog } from '../ui/dialog.tsx'
import { ErrorNotice, Loading } from '../ui/states.tsx'
import { Tabs } from '../ui/tabs.tsx'

const mostHexBytes = 16_384
const views = [
  { id: 'text', name: 'Text' },
  { id: 'hex', name: 'Hex' },
] as const

const Payload = ({ base64 }: { base64: string }) => {
  const [view, setView] = useState('text')
  const content = bytesOf(base64)
  const decoded = textOf(content)
  const text = view === 'hex' ? hexOf(content, mostHexBytes) : decoded.text
  return (
    <Tabs label="Show the payload as" tabs={views} chosen={view} onChoose={setView}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard. */}
      <pre class={`code payload ${view}`} tabIndex={0}>
        {text === '' ? 'The payload is empty.' : text}
      </pre>
      <div class="payload-foot">
        <p class="small muted">
          {view === 'text' && decoded.kind === 'json' && 'JSON, indented. '}
          {view === 'text' && !decoded.exact && 'Some bytes are no UTF-8: Hex shows them. '}
          {view === 'hex' && content.length > mostHexBytes && `The first ${count(mostHexBytes)} bytes. `}
        </p>
        <CopyButton text={text} what="the payload">
          Copy
        </CopyButton>
      </div>
    </Tabs>
  )
}

interface Props {
  letter: DeadLetter
  onReplay: () => void
  onDiscard: () => void
  onClose: () => void
}

export const DeadLetterDialog = ({ letter, onReplay, onDiscard, onClose }: Props) => {
  const { id, device_id: deviceId, topic, reason, received_at: receivedAt, rejected, size } = letter
  const details = useResource(String(id), (signal) =>
    get<{ dead_letter: DeadLetterDetails }>(`admin/dead-letters/${id}`, undefined, { signal }),
  )
  return (
    <Dialog
      title={`Dead letter ${id}`}
      wide
      onClose={onClose}
      actions={
        <>
          <Button icon="trash" onClick={onDiscard}>
            Discard
          </Button>
          <Button kind="primary" icon="replay" onClick={onReplay}>
            Replay
          </Button>
        </>
      }
    >
      <div class="notice bad">
        <p>{reason}</p>
      </div>
      <dl class="facts">
        <dt>Device</dt>
        <dd>{deviceId === null ? 'none' : <a href={href(`/devices/${deviceId}`)}>{deviceId}</a>}</dd>
        <dt>Topic</dt>
        <dd>
          <code>{topic}</code>
        </dd>
        <dt>Received</dt>
        <dd>{localTime(receivedAt)}</dd>
        <dt>Counts as</dt>
        <dd>{`${count(rejected)} rejected ${rejected === 1 ? 'reading' : 'readings'}, ${bytes(size)}`}</dd>
      </dl>
      {details.error && <ErrorNotice error={details.error} onRetry={details.reload} />}
      {details.value && <Payload base64={details.value.dead_letter.payload_base64} />}
      {details.value === undefined && details.error === undefined && <Loading />}
    </Dialog>
  )
}
