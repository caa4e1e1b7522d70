/** `npm run smoke`: tries a deployed server from outside with one new device, which is removed again. */
import { numberArgument, parseOptions, runCommand, UsageError } from '../scripts/command.ts'
import { onInterrupt } from './interrupt.ts'
import { SmokeTest, type Step } from './smoke/smoke-test.ts'

const help = `Tries a server from outside with one new device: health, a registration, readings in and out over HTTP and MQTT, a command and
its answer, a revoked key. Everything that it made is removed at the end, also after a failure.

  ADMIN_TOKEN=... ENROLLMENT_KEY=... npm run smoke -- --url https://...

  --url <address>   the server; http: only for an address of this computer, or with --allow-http
  --timeout <s>     longest time of one step, seconds: 5 to 600 (default 120)
  --http-only       leaves MQTT and commands out
  --allow-http      sends the secrets to a server without TLS
  --json            prints one JSON object at the end instead of lines

Environment:
  ADMIN_TOKEN       the admin token of the server; needed
  ENROLLMENT_KEY    registers the device as devices do; without it, the device is imported with the admin token

Exit code: 0 when every step succeeded and nothing stays, 1 when not, 2 when an argument is wrong.
`

/** Names of this computer in URLs. */
const ownHost = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

const checkedUrl = (text: string | undefined, allowHttp: boolean): string => {
  if (text === undefined) throw new UsageError('--url must name the server; --help shows what there is.')
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new UsageError(`--url must be an address such as https://iot.example.com, not "${text}".`)
  if (url.username !== '' || url.password !== '')
    throw new UsageError('--url must not hold a name or a password.')
  if (url.protocol === 'http:' && !allowHttp && !ownHost.test(url.hostname))
    throw new UsageError(
      '--url: the admin token goes to another computer only over https:, or with --allow-http.',
    )
  return text.replace(/\/+$/, '')
}

const line = ({ name, ms, ok, detail }: Step): string =>
  `${ok ? 'ok    ' : 'FAILED'}  ${name.padEnd(16)} ${(ms / 1000).toFixed(1).padStart(6)} s  ${detail}\n`

const smoke = async (): Promise<number> => {
  const { values } = parseOptions({
    options: {
      url: { type: 'string' },
      timeout: { type: 'string', default: '120' },
      'http-only': { type: 'boolean', default: false },
      'allow-http': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const url = checkedUrl(values.url, values['allow-http'])
  const stepMs = 1000 * numberArgument('--timeout', values.timeout, { min: 5, max: 600 })
  const { ADMIN_TOKEN: adminToken, ENROLLMENT_KEY: enrollmentKey } = process.env
  if (!adminToken) throw new UsageError('ADMIN_TOKEN must hold the admin token of the server.')
  const show = (text: string) => void (values.json || process.stdout.write(text))
  const test = new SmokeTest({
    url,
    adminToken,
    enrollmentKey: enrollmentKey || undefined,
    httpOnly: values['http-only'],
    stepMs,
    signal: onInterrupt(),
    onStep: (step) => show(line(step)),
  })
  const began = performance.now()
  const { ok, steps, left } = await test.run()
  const seconds = (performance.now() - began) / 1000
  for (const one of left)
    show(`STAYS   ${one} Remove it with DELETE /api/v1/admin/devices/{id}?telemetry=true.\n`)
  show(`${ok ? `${url} works` : `${url} FAILED`}, ${seconds.toFixed(1)} s\n`)
  if (values.json)
    process.stdout.write(`${JSON.stringify({ url, ok, ms: Math.round(seconds * 1000), steps, left })}\n`)
  return ok ? 0 : 1
}

export const main = () => runCommand(smoke)
