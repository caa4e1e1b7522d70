import { boardPayloads } from './boards.ts'
import { homePayloads } from './home.ts'
import { networkPayloads } from './networks.ts'
import type { DevicePayload } from './payload.ts'

export const devicePayloads: readonly DevicePayload[] = [
  ...homePayloads,
  ...networkPayloads,
  ...boardPayloads,
]
