/** The office fleet of the simulator, for pages that need devices which live. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { root } from '../../lib/root.ts'
import type { Dashboard } from './browser.ts'

/** Starts it. @returns a function that ends it. */
export const startFleet = ({ server, adminToken }: Dashboard): (() => void) => {
  const options = [
    '--preset',
    'office',
    '--protocol',
    'mixed',
    '--interval',
    '2s',
    '--duration',
    '2h',
    '--no-keys',
  ]
  const program = ['scripts/run.mjs', 'simulators/simulate.ts', ...options, '--url', server.httpUrl]
  const fleet = spawn(process.execPath, program, {
    cwd: fileURLToPath(root),
    env: { ...process.env, ADMIN_TOKEN: adminToken },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return () => fleet.kill('SIGKILL')
}
