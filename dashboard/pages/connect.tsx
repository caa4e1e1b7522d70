/** Connects a device: registers it, shows programs that send its first reading, and waits for that reading. */
import { href, navigate } from '../router.ts'
import { Button, CopyButton } from '../ui/button.tsx'
import { Icon } from '../ui/icon.tsx'
import { Card, PageHead } from '../ui/layout.tsx'
import { ArrivalLight } from './connect/arrival.tsx'
import { type Connected, connected, setConnected } from './connect/connected.ts'
import { Programs } from './connect/programs.tsx'
import { RegisterForm } from './connect/register-form.tsx'

const Key = ({ device }: { device: Connected }) => (
  <div class="notice warn">
    <Icon name="key" />
    <div class="key">
      <p>
        The API key of {device.name} (id {device.id}). Copy it now; it cannot be shown again. This tab keeps
        it until you connect another device or sign out.
      </p>
      <div>
        <code>{device.apiKey}</code>
        <CopyButton text={device.apiKey} what="the key">
          Copy
        </CopyButton>
      </div>
    </div>
  </div>
)

/** The form, and after it the programs and the light. */
export const ConnectDevice = () => {
  const device = connected()
  if (device === undefined)
    return (
      <RegisterForm
        onConnected={(registered) => {
          setConnected(registered)
          // The overview has a device now and shows other things.
          navigate('/connect')
        }}
      />
    )
  return (
    <div class="stack">
      <Key device={device} />
      <ArrivalLight deviceId={device.id} />
      <Programs device={device} />
      <div class="actions">
        <Button onClick={() => setConnected(undefined)}>Connect another device</Button>
      </div>
    </div>
  )
}

export const ConnectPage = () => (
  <>
    <PageHead
      title="Connect a device"
      lead="A device is anything that sends readings over HTTP or MQTT."
      back={{ href: href('/'), text: 'Overview' }}
    />
    <Card title={connected() === undefined ? 'Register it' : 'Send its first reading'}>
      <ConnectDevice />
    </Card>
  </>
)
