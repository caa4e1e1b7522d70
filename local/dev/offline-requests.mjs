/** serverless-offline loads this file, which changes the requests that it sees where it treats them unlike API Gateway. */
import { Server } from 'node:http'

const origins = (process.env.CORS_ORIGINS ?? '').split(',').map((origin) => origin.trim())

/** serverless-offline allows every origin that it sees, with credentials, so it sees those of CORS_ORIGINS only. */
const hideOtherOrigins = (headers) => {
  const { origin } = headers
  if (origin !== undefined && !origins.includes('*') && !origins.includes(origin)) delete headers.origin
}

/**
 * serverless-offline decodes bodies as UTF-8, which loses other bytes, unless their content type is binary. The function
 * still gets the content type that was sent, because its event is made from `rawHeaders`.
 */
const keepBytes = ({ url, headers }) => {
  const isInvocation = url.startsWith('/2015-03-31/functions/')
  if (!isInvocation) headers['content-type'] = 'application/octet-stream'
}

const { emit } = Server.prototype

Server.prototype.emit = function (event, ...args) {
  if (event === 'request') {
    hideOtherOrigins(args[0].headers)
    keepBytes(args[0])
  }
  return emit.call(this, event, ...args)
}
