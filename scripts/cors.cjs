/** CORS of the HTTP API for serverless.yml, which cannot split CORS_ORIGINS: off unless it is set. */
module.exports = async ({ resolveVariable }) => {
  const origins = (process.env.CORS_ORIGINS ?? '').split(',').map((origin) => origin.trim())
  const allowedOrigins = origins.filter((origin) => origin !== '')
  return allowedOrigins.length > 0 && { allowedOrigins, ...(await resolveVariable('self:custom.cors')) }
}
