/** The health check of the container: exit code 0 when the server in it can take telemetry. Node 24 runs it as it is. */
const { PORT, TLS_CERT } = process.env

// The request stays in the container, and the certificate is for another address than this one.
if (TLS_CERT) process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
const url = `${TLS_CERT ? 'https' : 'http'}://127.0.0.1:${PORT || 5000}/health`
const healthy = await fetch(url, { signal: AbortSignal.timeout(7000) }).then(
  ({ ok }) => ok,
  () => false,
)
process.exit(healthy ? 0 : 1)
