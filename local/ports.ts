/** The ports that a server listens on, by their settings, and which of them are taken. */
import { createServer } from 'node:net'
import type { Config } from '../lib/config.ts'
import { errorCode } from '../lib/errors.ts'

export interface WantedPort {
  readonly setting: 'PORT' | 'MQTT_PORT' | 'MQTT_WS_PORT' | 'MQTT_TLS_PORT'
  readonly port: number
}

/** Those that have a number: 0 picks a free one. Another broker has ports of its own. */
export function wantedPorts({ ports, mqtt, tls }: Pick<Config, 'ports' | 'mqtt' | 'tls'>): WantedPort[] {
  const own = mqtt === undefined
  const all: [WantedPort['setting'], number | undefined][] = [
    ['PORT', ports.http],
    ['MQTT_PORT', own ? ports.mqtt : undefined],
    ['MQTT_WS_PORT', own ? ports.mqttWs : undefined],
    ['MQTT_TLS_PORT', own && tls ? ports.mqttTls : undefined],
  ]
  return all.flatMap(([setting, port]) => (port ? [{ setting, port }] : []))
}

/** @returns why nobody can listen there now: the code of the error; undefined when somebody can. */
export const listenCode = (host: string, port: number): Promise<string | undefined> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error) => resolve(errorCode(error) ?? 'unknown'))
    server.listen({ host, port }, () => server.close(() => resolve(undefined)))
  })

const list = new Intl.ListFormat('en')

/**
 * Tells of all taken ports at once; a single one is told by the server that cannot listen on it.
 * @throws {Error} a sentence, and a line to copy, when several are taken.
 */
export async function refuseTakenPorts(config: Config): Promise<void> {
  const { host } = config
  const taken: WantedPort[] = []
  for (const wanted of wantedPorts(config))
    if ((await listenCode(host, wanted.port)) === 'EADDRINUSE') taken.push(wanted)
  if (taken.length < 2) return
  const names = list.format(taken.map(({ setting, port }) => `${setting} ${port}`))
  const settings = taken.map(({ setting }) => `${setting}=0`).join(' ')
  throw new Error(
    `${names} are taken on ${host}: stop what listens there, or let the server pick free ports:\n  ${settings} npm start`,
  )
}
