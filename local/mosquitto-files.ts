/** The files a Mosquitto needs to be the broker of this layer: its configuration, and who the layer is there. */
import { pbkdf2Sync, randomBytes } from 'node:crypto'
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join, resolve } from 'node:path'

export interface MosquittoFiles {
  /** Where they go, and where Mosquitto keeps its own. */
  readonly folder: string
  /** `mosquitto_dynamic_security.so`. */
  readonly plugin: string
  /** Of the layer's own account. */
  readonly username: string
  readonly password: string
  /** Address for devices; the layer's own listener is on loopback. */
  readonly address: string
  readonly port: number
  readonly websocketPort: number
  readonly internalPort: number
  /**
   * Of a Mosquitto in a container: the folder as it sees it, with certificates as `cert.pem` and `key.pem` there, and who it
   * runs as. Its internal listener is open to the network of the container.
   */
  readonly container?: { readonly folder: string; readonly user: string } | undefined
  /** PEM files, with the port for MQTT over TLS. */
  readonly tls?: { readonly port: number; readonly cert: string; readonly key: string } | undefined
  /**
   * `fast` saves queued messages every 30 min: a crash of Mosquitto costs what it had not handed on. `safe` saves after
   * every change.
   */
  readonly crash: 'fast' | 'safe'
}

const autosave = {
  fast: 'autosave_interval 1800',
  safe: 'autosave_on_changes true\nautosave_interval 1',
} as const
const explained = {
  fast: 'messages that were not handed on since the last save, every 30 min.',
  safe: 'what came while the last save was being written: milliseconds.',
} as const

/** As the plugin keeps passwords: PBKDF2 with SHA-512. */
const hashed = (password: string) => {
  const salt = randomBytes(12)
  const iterations = 100_000
  return {
    password: pbkdf2Sync(password, salt, iterations, 64, 'sha512').toString('base64'),
    salt: salt.toString('base64'),
    iterations,
  }
}

const everything = ['publishClientSend', 'publishClientReceive', 'subscribePattern', 'unsubscribePattern']

/** Who there is in the beginning: the layer, which may do everything and tells of all others. */
const firstAccounts = (username: string, password: string) => ({
  defaultACLAccess: {
    publishClientSend: false,
    publishClientReceive: false,
    subscribe: false,
    unsubscribe: true,
  },
  clients: [{ username, ...hashed(password), roles: [{ rolename: 'iotflow-layer' }] }],
  groups: [],
  roles: [
    {
      rolename: 'iotflow-layer',
      acls: ['#', '$CONTROL/dynamic-security/#'].flatMap((topic) =>
        everything.map((acltype) => ({ acltype, topic, priority: 0, allow: true })),
      ),
    },
  ],
})

/**
 * Writes `mosquitto.conf` and, where there is none yet, `dynamic-security.json`: the plugin keeps the devices' accounts there.
 * @returns path of `mosquitto.conf`.
 */
export async function writeMosquittoFiles(files: MosquittoFiles): Promise<string> {
  const { folder, plugin, address, port, websocketPort, internalPort, container, tls, crash } = files
  const path = resolve(folder)
  await mkdir(path, { recursive: true, mode: 0o700 })
  if (tls && container) {
    await copyFile(tls.cert, join(path, 'cert.pem'))
    await copyFile(tls.key, join(path, 'key.pem'))
  }
  const [cert, key] = container
    ? [`${container.folder}/cert.pem`, `${container.folder}/key.pem`]
    : [resolve(tls?.cert ?? ''), resolve(tls?.key ?? '')]
  const values: Record<string, string> = {
    folder: container?.folder ?? path,
    user: container?.user ?? userInfo().username,
    internalAddress: container ? '0.0.0.0' : '127.0.0.1',
    plugin,
    address,
    port: String(port),
    websocketPort: String(websocketPort),
    internalPort: String(internalPort),
    tls: tls
      ? `listener ${tls.port} ${address}\nuse_username_as_clientid true\ncertfile ${cert}\nkeyfile ${key}\n`
      : '',
    crash: explained[crash],
    autosave: autosave[crash],
  }
  const template = await readFile(new URL('./mosquitto/mosquitto.conf', import.meta.url), 'utf8')
  const text = template.replace(/\{(\w+)\}/g, (all, name: string) => values[name] ?? all)
  const configuration = join(path, 'mosquitto.conf')
  await writeFile(configuration, text, { mode: 0o600 })
  const accounts = JSON.stringify(firstAccounts(files.username, files.password), null, 2)
  await writeFile(join(path, 'dynamic-security.json'), accounts, { mode: 0o600, flag: 'wx' }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    },
  )
  return configuration
}
