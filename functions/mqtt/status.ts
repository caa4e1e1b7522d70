/** GET /api/v1/mqtt/status: whether there is a broker and it answers. */
import type { Messenger } from '../../lib/commands/messenger.ts'
import type { Device } from '../../lib/devices/device.ts'
import type { Gate } from '../../lib/http/auth.ts'
import { endpoint, reply } from '../../lib/http/endpoint.ts'
import { lambda } from '../../lib/http/lambda.ts'
import { kept } from '../../lib/kept.ts'
import type { Log } from '../../lib/log.ts'
import * as runtime from '../../lib/runtime.ts'

interface Deps {
  log: Log
  gate: Gate<Device>
  /** Undefined where there is no broker. */
  messenger: Pick<Messenger, 'check'> | undefined
  kind: ReturnType<typeof runtime.brokerKind>
}

/** The broker is asked at most this often, ms. */
const askEveryMs = 15_000

export const mqttStatus = ({ log, gate, messenger, kind }: Deps) => {
  const ask = kept(askEveryMs, async () => {
    if (messenger === undefined) return false
    return messenger.check().then(
      () => true,
      () => false,
    )
  })
  return endpoint(log, 'GET /api/v1/mqtt/status', gate.open(), async (c) => {
    const connected = await ask()
    const status = kind === 'none' ? 'disabled' : connected ? 'healthy' : 'unavailable'
    return reply(c, 200, { status, broker_info: { connected, kind } })
  })
}

export const handler = lambda(async () =>
  mqttStatus({
    log: runtime.log(),
    gate: await runtime.gate(),
    messenger: runtime.messenger(),
    kind: runtime.brokerKind(),
  }),
)
