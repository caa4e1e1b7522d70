/**
 * Loaded into serverless-offline, which answers any origin that it may read, with credentials: it sees only those of
 * CORS_ORIGINS.
 */
import { Server } from 'node:http'

const origins = (process.env.CORS_ORIGINS ?? '').split(',').map((origin) => origin.trim())
const { emit } = Server.prototype

Server.prototype.emit = function (event, ...args) {
  const { origin } = (event === 'request' && args[0].headers) || {}
  if (origin !== undefined && !origins.includes('*') && !origins.includes(origin))
    delete args[0].headers.origin
  return emit.call(this, event, ...args)
}
