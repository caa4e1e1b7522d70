/** The slope of the line that fits points best (least squares). @returns change of y for each unit of x; 0 for fewer than two. */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const count = points.length
  const [meanX, meanY] = [0, 1].map((at) => points.reduce((sum, point) => sum + (point[at] ?? 0), 0) / count)
  let [covariance, variance] = [0, 0]
  for (const [x, y] of points) {
    covariance += (x - (meanX ?? 0)) * (y - (meanY ?? 0))
    variance += (x - (meanX ?? 0)) ** 2
  }
  return variance === 0 ? 0 : covariance / variance
}
