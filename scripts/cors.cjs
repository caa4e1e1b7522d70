/** CORS of the HTTP API for serverless.yml, which cannot split CORS_ORIGINS: off unless it is set. */
module.exports = async ({ resolveVariable }) => {
  const setting = (await resolveVariable("setting:CORS_ORIGINS, ''")) ?? ''
  const origins = setting.split(',').map((origin) => origin.trim())
  const allowedOrigins = origins.filter((origin) => origin !== '')
  return allowedOrigins.length > 0 && { allowedOrigins, ...(await resolveVariable('self:custom.cors')) }
}
