/** The health check of the container: asks the layer beside it; 0 when that can take telemetry. */
const { PORT, TLS_CERT } = process.env

// Nobody stands between the two, and the certificate is not made for this address.
if (TLS_CERT) process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
const url = `${TLS_CERT ? 'https' : 'http'}://127.0.0.1:${PORT || 5000}/health`
const healthy = await fetch(url, { signal: AbortSignal.timeout(7000) }).then(
  ({ ok }) => ok,
  () => false,
)
process.exit(healthy ? 0 : 1)
