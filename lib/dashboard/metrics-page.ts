/** The metrics of this process as a text for Prometheus. */

/** OpenMetrics 1.0, or the text format 0.0.4 of Prometheus. */
export type MetricsFormat = 'openmetrics' | 'text'

export interface MetricsPage {
  /** Never rejects for a database that is unavailable: its numbers are left out then. */
  write(format: MetricsFormat): Promise<string>
}

/** Quality of the best entry of an Accept header that fits; 0 for none. */
const qualityOf = (accept: string, fits: (type: string, version: string | undefined) => boolean): number => {
  const qualities = accept.split(',').map((entry) => {
    const [type = '', ...parameters] = entry.split(';').map((part) => part.trim().toLowerCase())
    const value = (name: string) =>
      parameters.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1)
    const quality = Number(value('q') ?? 1)
    return fits(type, value('version')) && quality <= 1 ? quality : 0
  })
  return Math.max(0, ...qualities)
}

/** The format that a client asks for by its Accept header; the text format where it asks for neither. */
export const formatFor = (accept = ''): MetricsFormat => {
  const openMetrics = qualityOf(
    accept,
    (type, version = '1.0.0') => type === 'application/openmetrics-text' && version === '1.0.0',
  )
  const text = qualityOf(accept, (type) => type === 'text/plain')
  return openMetrics > 0 && openMetrics >= text ? 'openmetrics' : 'text'
}
