// Node 20 cannot start a thread from TypeScript: this file makes the thread able to read it, then hands over.
import { register } from 'tsx/esm/api'

register()
await import('./embedded-worker.ts')
