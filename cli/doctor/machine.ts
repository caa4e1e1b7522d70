/** Checks of this machine: Node, disk, ports. */
import { constants } from 'node:fs'
import { access, statfs } from 'node:fs/promises'
import type { Config } from '../../lib/config.ts'
import { listenCode, wantedPorts } from '../../local/ports.ts'
import { type Finding, failed, ok, warning } from './finding.ts'

const leastNode = [20, 19] as const
/** Below this the disk is full soon, bytes. */
const littleBytes = 1024 ** 3

export function checkNode(version = process.versions.node): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const isOld = major < leastNode[0] || (major === leastNode[0] && minor < leastNode[1])
  return isOld
    ? failed('Node.js', `version ${version} is too old`, `Install Node.js ${leastNode.join('.')} or later.`)
    : ok('Node.js', `version ${version}`)
}

export async function checkDisk(dataDir: string): Promise<Finding> {
  const check = `disk of ${dataDir}`
  try {
    await access(dataDir, constants.W_OK)
    const { bavail, bsize } = await statfs(dataDir)
    const free = `${((bavail * bsize) / 1e9).toFixed(1)} GB are free`
    return bavail * bsize < littleBytes
      ? warning(check, free, 'Delete what is not needed, or lower RETENTION_DAYS.')
      : ok(check, free)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return ok(check, 'does not exist yet: the first start makes it')
    return failed(
      check,
      `cannot be written (${code})`,
      'Give it to the user who runs the server, or set DATA_DIR.',
    )
  }
}

/** Whether a server could open its ports; only while none runs. */
export async function checkPorts(config: Config): Promise<Finding[]> {
  const { host } = config
  const findings: Finding[] = []
  for (const { setting, port } of wantedPorts(config)) {
    const check = `${setting} ${port}`
    findings.push(
      (await listenCode(host, port)) === undefined
        ? ok(check, 'is free')
        : failed(check, `is taken on ${host}`, `Stop what listens there, or set ${setting} to another port.`),
    )
  }
  return findings
}
