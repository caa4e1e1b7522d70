/** Connects a device: registers it, shows programs that send its first reading, and waits for that reading. */
import { effect, signal } from '@preact/signals'
import { useEffect, useState } from 'preact/hooks'
import type { ImportAnswer, MqttCredentials, Reading, ShownDevice } from '../answers.ts'
import { type ApiError, get, post } from '../api.ts'
import { localTime, measure } from '../format.ts'
import { live } from '../live.ts'
import { href, navigate } from '../router.ts'
import { session } from '../session.ts'
import { snippetsFor } from '../snippets.ts'
import { Button, ButtonLink, CopyButton } from '../ui/button.tsx'
import { Field } from '../ui/field.tsx'
import { Card, PageHead } from '../ui/layout.tsx'
import { ErrorNotice } from '../ui/states.tsx'
import { Tabs } from '../ui/tabs.tsx'

interface Connected {
  readonly id: number
  readonly name: string
  readonly apiKey: string
  readonly mqtt: MqttCredentials | undefined
}

/** The device that is being connected: it stays when its page, or the overview, is left and shown again. */
const connected = signal<Connected | undefined>(undefined)

effect(() => {
  if (session.token.value === undefined) connected.value = undefined
})

const faultOf = (message: string): ApiError => ({
  status: 422,
  code: 'VALIDATION_FAILED',
  message,
  details: [],
  requestId: undefined,
  retryAfterS: undefined,
})

/** Registers as an operator: an import of one row needs no enrolment key. */
const register = async (name: string, deviceType: string): Promise<Connected | ApiError> => {
  const row = JSON.stringify({ name, device_type: deviceType })
  const answer = await post<ImportAnswer>('admin/devices/import', `${row}\n`, {
    contentType: 'application/x-ndjson',
  })
  if (!answer.ok) return answer.error
  const [key] = answer.value.keys
  if (key === undefined) return faultOf(answer.value.errors[0]?.reason ?? 'The device was not registered.')
  const credentials = await get<{ credentials: MqttCredentials }>('devices/mqtt-credentials', undefined, {
    apiKey: key.api_key,
  })
  return {
    id: key.id,
    name: key.name,
    apiKey: key.api_key,
    mqtt: credentials.ok ? credentials.value.credentials : undefined,
  }
}

const RegisterForm = ({ onConnected }: { onConnected: (device: Connected) => void }) => {
  const [name, setName] = useState('my-first-device')
  const [deviceType, setDeviceType] = useState('temperature')
  const [error, setError] = useState<ApiError>()
  const [busy, setBusy] = useState(false)
  const submit = async (event: Event) => {
    event.preventDefault()
    if (busy) return
    setBusy(true)
    const result = await register(name, deviceType)
    setBusy(false)
    if ('code' in result) setError(result)
    else onConnected(result)
  }
  return (
    <form class="form" onSubmit={submit}>
      <div class="form-row">
        <Field label="Name" value={name} onInput={setName} maxLength={128} required autocomplete="off" />
        <Field
          label="Type"
          value={deviceType}
          onInput={setDeviceType}
          maxLength={64}
          required
          autocomplete="off"
          hint="Any word: devices are listed and filtered by it."
        />
      </div>
      {error && <ErrorNotice error={error} />}
      <div class="actions">
        <Button type="submit" kind="primary" busy={busy}>
          Register the device
        </Button>
      </div>
    </form>
  )
}

const askEveryMs = 2000

/** What arrived of a device. */
interface Arrival {
  readonly stored: number
  readonly rejected: number
  readonly reading: Reading | undefined
}

/** Asks until the first reading is stored; a reading on the stream makes it ask at once. */
const useArrival = (deviceId: number): Arrival => {
  const [arrival, setArrival] = useState<Arrival>({ stored: 0, rejected: 0, reading: undefined })
  useEffect(() => {
    const abort = new AbortController()
    const { signal } = abort
    let timer: ReturnType<typeof setTimeout> | undefined
    const ask = async () => {
      clearTimeout(timer)
      const answer = await get<ShownDevice>(`admin/devices/${deviceId}`, undefined, { signal })
      if (signal.aborted) return
      const { stored = 0, rejected = 0 } = answer.ok ? answer.value.accounting : {}
      if (stored === 0) {
        setArrival({ stored, rejected, reading: undefined })
        timer = setTimeout(ask, askEveryMs)
        return
      }
      const latest = await get<{ latest_data: Reading }>(`telemetry/${deviceId}/latest`, undefined, {
        signal,
      })
      if (!signal.aborted)
        setArrival({ stored, rejected, reading: latest.ok ? latest.value.latest_data : undefined })
    }
    void ask()
    const stop = live.watchDevice(deviceId, () => void ask())
    return () => {
      abort.abort()
      clearTimeout(timer)
      stop()
    }
  }, [deviceId])
  return arrival
}

const shownValue = (value: unknown) => (typeof value === 'number' ? measure(value) : String(value))

const ArrivalLight = ({ device }: { device: Connected }) => {
  const { stored, rejected, reading } = useArrival(device.id)
  const state = stored > 0 ? 'arrived' : rejected > 0 ? 'refused' : 'waiting'
  return (
    <div class={`arrival ${state}`} role="status">
      <span class="lamp" aria-hidden="true" />
      <div>
        {state === 'waiting' && (
          <>
            <p class="arrival-title">Waiting for the first reading</p>
            <p class="muted">
              Run one of the programs below. This light turns green when its reading is stored.
            </p>
          </>
        )}
        {state === 'refused' && (
          <>
            <p class="arrival-title">A message arrived, but nothing of it could be stored</p>
            <p>
              The reason is among the{' '}
              <a href={href('/dead-letters', { device_id: device.id })}>dead letters</a>, or in the answer
              that the device got.
            </p>
          </>
        )}
        {state === 'arrived' && (
          <>
            <p class="arrival-title">The first reading is stored</p>
            {reading && (
              <p>
                {Object.entries(reading)
                  .filter(([name]) => name !== 'timestamp' && name !== 'metadata')
                  .slice(0, 6)
                  .map(([name, value]) => `${name} ${shownValue(value)}`)
                  .join(', ')}
                <span class="muted">{`, ${localTime(reading.timestamp)}`}</span>
              </p>
            )}
            <p class="actions">
              <ButtonLink href={href(`/devices/${device.id}`)} kind="primary">
                Show the device
              </ButtonLink>
            </p>
          </>
        )}
      </div>
    </div>
  )
}

/** The name under which others reach this server; a board needs one that is not localhost. */
const originOf = () => new URL('.', location.href).href.replace(/\/$/, '')

const Snippets = ({ device }: { device: Connected }) => {
  const { mqtt } = device
  const snippets = snippetsFor({
    origin: originOf(),
    deviceId: device.id,
    apiKey: device.apiKey,
    mqtt:
      mqtt?.mqtt_port == null
        ? undefined
        : {
            host: mqtt.mqtt_host,
            port: mqtt.mqtt_port,
            clientId: mqtt.client_id,
            topic: mqtt.topics.telemetry_publish,
          },
  })
  const [chosen, setChosen] = useState('curl')
  const snippet = snippets.find(({ id }) => id === chosen) ?? snippets[0]
  return (
    <Tabs label="Program" tabs={snippets} chosen={chosen} onChoose={setChosen}>
      {snippet && (
        <div class="snippet">
          <div class="snippet-head">
            <p class="small muted">{snippet.how}</p>
            <CopyButton text={snippet.text} what="the program">
              Copy
            </CopyButton>
          </div>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard. */}
          <pre class="code" tabIndex={0}>
            {snippet.text}
          </pre>
        </div>
      )}
    </Tabs>
  )
}

/** The form, and after it the programs and the light. */
export const ConnectDevice = () => {
  const device = connected.value
  if (device === undefined)
    return (
      <RegisterForm
        onConnected={(registered) => {
          connected.value = registered
          // The overview has a device now and shows other things.
          navigate('/connect')
        }}
      />
    )
  return (
    <div class="stack">
      <dl class="facts">
        <dt>Device</dt>
        <dd>
          {device.name}, id {device.id}
        </dd>
        <dt>API key</dt>
        <dd class="key">
          <code>{device.apiKey}</code>
          <CopyButton text={device.apiKey} what="the key" />
          <p class="small muted">Shown only now: the server keeps a digest of it.</p>
        </dd>
      </dl>
      <ArrivalLight device={device} />
      <Snippets device={device} />
      <div class="actions">
        <Button
          onClick={() => {
            connected.value = undefined
          }}
        >
          Connect another device
        </Button>
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
    <Card title={connected.value === undefined ? 'Register it' : 'Send its first reading'}>
      <ConnectDevice />
    </Card>
  </>
)
