/**
 * The sum of numbers, exact until it is rounded once: it does not depend on their order, nor on how they were split up, so that
 * every store gives the same. Method: J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic", 1997, as in Python's
 * `math.fsum`.
 */

/** Larger numbers are added as whole numbers, so that no step overflows. */
const huge = 2 ** 960

/** What is left of a sum, for another {@link ExactSum} to take. */
export interface SumParts {
  /** Numbers whose exact sum is the sum, together with `huge`. */
  readonly parts: readonly number[]
  readonly huge: bigint
}

/** Rounds the sum of numbers that do not overlap, the smallest first, to the nearest double; a tie goes to the even one. */
const rounded = (parts: readonly number[]): number => {
  let at = parts.length - 1
  let high = parts[at] ?? 0
  let low = 0
  while (at > 0 && low === 0) {
    at -= 1
    const [x, y] = [high, parts[at] as number]
    high = x + y
    low = y - (high - x)
  }
  const next = at > 0 ? (parts[at - 1] as number) : 0
  // The rest pushes a tie to the side on which it lies.
  if ((low < 0 && next < 0) || (low > 0 && next > 0)) {
    const doubled = low * 2
    const moved = high + doubled
    if (doubled === moved - high) return moved
  }
  return high
}

/**
 * Rounds a whole number of more than 900 bits to the nearest double.
 * @param fraction the sign of what is to be added below 1: it decides a tie.
 */
const roundedWhole = (whole: bigint, fraction: number): number => {
  if (fraction === 0) return Number(whole)
  const isNegative = whole < 0n
  const doubled = 2n * (isNegative ? -whole : whole) + (fraction < 0 === isNegative ? 1n : -1n)
  // The last bit stands for all that is cut off: with it the number is no tie.
  const size = Number((doubled >> 2n) | 1n) * 2
  return isNegative ? -size : size
}

export class ExactSum {
  /** Numbers of growing magnitude that do not overlap; their exact sum is that of all numbers below {@link huge}. */
  readonly #parts: number[] = []
  #huge = 0n

  /** @param value finite. */
  add(value: number): void {
    if (Math.abs(value) >= huge) {
      this.#huge += BigInt(value)
      return
    }
    const parts = this.#parts
    let x = value
    let kept = 0
    for (let at = 0; at < parts.length; at += 1) {
      let y = parts[at] as number
      if (Math.abs(x) < Math.abs(y)) [x, y] = [y, x]
      const high = x + y
      const low = y - (high - x)
      if (low !== 0) {
        parts[kept] = low
        kept += 1
      }
      x = high
    }
    // Usually the number of parts stays, and setting the length of an array is slow.
    if (kept === parts.length) parts.push(x)
    else {
      parts[kept] = x
      if (kept + 1 < parts.length) parts.length = kept + 1
    }
  }

  take({ parts, huge: large }: SumParts): void {
    this.#huge += large
    for (const part of parts) this.add(part)
  }

  parts(): SumParts {
    return { parts: this.#parts, huge: this.#huge }
  }

  #whole(): bigint {
    return this.#parts.reduce((sum, part) => sum + BigInt(Math.trunc(part)), this.#huge)
  }

  /** Infinite where it is beyond the largest double. */
  value(): number {
    if (this.#huge === 0n) return rounded(this.#parts)
    let whole = this.#whole()
    const rest = new ExactSum()
    for (const part of this.#parts) rest.add(part - Math.trunc(part))
    if (Math.abs(Number(whole)) >= huge) return roundedWhole(whole, Math.sign(rest.value()))
    // Smaller numbers took away what was huge, so that fractions count again.
    for (; whole !== 0n; whole -= BigInt(Number(whole))) rest.add(Number(whole))
    return rest.value()
  }

  /** The sum divided by a count. Finite, also where the sum is not. */
  mean(count: number): number {
    const sum = this.value()
    return Number.isFinite(sum) ? sum / count : Number(this.#whole() / BigInt(count))
  }
}
