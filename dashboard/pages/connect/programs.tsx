/** The programs that send a first reading, one in each tab. */
import { useState } from 'preact/hooks'
import { href } from '../../router.ts'
import { CopyButton } from '../../ui/button.tsx'
import { Tabs } from '../../ui/tabs.tsx'
import type { Connected } from './connected.ts'
import { needsAddress, snippetsFor } from './snippets.ts'

/** The name under which this page reached the server. */
const originOf = () => new URL('.', location.href).href.replace(/\/$/, '')

/** What to do so that a board can reach a server that only its own computer reaches now. */
const NetworkNote = () => (
  <p class="small network-note">
    Only this computer reaches the server as it was opened here. For a board, start it with{' '}
    <code>HOST=0.0.0.0</code>, and put the address of this computer in the place of{' '}
    <code>{needsAddress}</code>. Then devices need an enrolment key to register themselves: see{' '}
    <a href={href('/settings')}>the settings</a>, and <q>Open it to devices</q> in{' '}
    <code>docs/operate.md</code>.
  </p>
)

export const Programs = ({ device: { id, apiKey, mqtt } }: { device: Connected }) => {
  const snippets = snippetsFor({
    origin: originOf(),
    deviceId: id,
    apiKey,
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
  const snippet = snippets.find((one) => one.id === chosen) ?? snippets[0]
  return (
    <Tabs label="Program" tabs={snippets} chosen={chosen} onChoose={setChosen}>
      {snippet && (
        <div class="snippet">
          <div class="snippet-head">
            <p class="small muted">
              {snippet.how}
              {snippet.install && (
                <>
                  {' '}
                  <code>{snippet.install}</code>
                </>
              )}
            </p>
            <CopyButton text={snippet.text} what="the program">
              Copy
            </CopyButton>
          </div>
          {snippet.text.includes(needsAddress) && <NetworkNote />}
          <pre class="code">{snippet.text}</pre>
        </div>
      )}
    </Tabs>
  )
}
