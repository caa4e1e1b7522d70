/** `iotflow device list`: the devices that fit, page by page. */
import type { Command } from 'commander'
import { action, examples } from '../context.ts'
import { wholeNumber } from '../numbers.ts'

interface Options {
  readonly status?: string
  readonly type?: string
  readonly q?: string
  readonly selector?: string
  readonly limit?: string
}

export const addListDevices = (to: Command) =>
  to
    .command('list')
    .description('lists devices in the order of their ids')
    .option('--status <status>', 'active, inactive or maintenance')
    .option('--type <type>', 'only devices of this type')
    .option('--selector <selector>', 'only devices with these labels: site=north,floor!=2')
    .option('--q <text>', 'part of the name, the location or the description')
    .option('--limit <number>', 'devices at most; by default all')
    .addHelpText(
      'after',
      examples(
        'iotflow device list',
        'iotflow device list --status inactive',
        'iotflow device list --q cellar --json',
        'iotflow device list --selector site=north,floor!=2',
      ),
    )
    .action(
      action(async ({ api, output }, { status, type, q, selector, limit }: Options) => {
        const most = limit === undefined ? Number.POSITIVE_INFINITY : wholeNumber('--limit', limit)
        const query = { status, device_type: type, q, selector, limit: Math.min(most, 1000) }
        const devices = []
        for await (const device of (await api()).pages('/api/v1/admin/devices', 'devices', query)) {
          if (devices.length >= most) break
          devices.push(device)
        }
        await output.table(
          devices,
          ['id', 'name', 'type', 'status', 'online', 'location', 'last seen'],
          devices.map((device) => [
            device.id,
            device.name,
            device.device_type,
            device.status,
            device.is_online ? 'yes' : 'no',
            device.location,
            device.last_seen,
          ]),
        )
      }),
    )
