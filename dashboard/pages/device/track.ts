/** The way of a device, from its latitudes and longitudes. */
import type { Columns } from '../../charts/table.ts'

/** The two fields of a place, by the names that devices give them; undefined for a device without. */
export function placeFields(
  fields: readonly string[],
): readonly [latitude: string, longitude: string] | undefined {
  for (const latitude of fields) {
    const [, before = '', name = ''] = /^(.*?)(lat|latitude)$/i.exec(latitude) ?? []
    if (name === '') continue
    const longitude = fields.find(
      (field) => field.startsWith(before) && /^(lon|lng|long|longitude)$/i.test(field.slice(before.length)),
    )
    if (longitude !== undefined) return [latitude, longitude]
  }
  return undefined
}

export interface Track {
  /** Points in a square of 100 by 100, north up, in the order of time. */
  readonly points: readonly (readonly [x: number, y: number])[]
  readonly last: { readonly latitude: number; readonly longitude: number }
  /** Width of the square, metres. */
  readonly metres: number
}

/** Metres of one degree of latitude. */
const metresPerDegree = 111_320
/** The least width of the square, degrees: a device that stands still shall not look as if it moved. */
const leastDegrees = 0.0005

/** @param columns of latitude and longitude. */
export function trackOf([, latitudes = [], longitudes = []]: Columns): Track | undefined {
  const places: (readonly [number, number])[] = []
  for (const [at, latitude] of latitudes.entries()) {
    const longitude = longitudes[at]
    if (typeof latitude === 'number' && typeof longitude === 'number' && Math.abs(latitude) <= 90)
      places.push([latitude, longitude])
  }
  const last = places.at(-1)
  if (last === undefined) return undefined
  const bounds = (at: 0 | 1) => {
    const values = places.map((place) => place[at])
    return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))] as const
  }
  const [[south, north], [west, east]] = [bounds(0), bounds(1)]
  // Degrees of longitude are shorter away from the equator.
  const shrink = Math.max(0.01, Math.cos((((south + north) / 2) * Math.PI) / 180))
  const size = Math.max(leastDegrees, north - south, (east - west) * shrink) * 1.1
  const [middleY, middleX] = [(south + north) / 2, (west + east) / 2]
  return {
    points: places.map(([latitude, longitude]) => [
      50 + (((longitude - middleX) * shrink) / size) * 100,
      50 - ((latitude - middleY) / size) * 100,
    ]),
    last: { latitude: last[0], longitude: last[1] },
    metres: size * metresPerDegree,
  }
}
