/** Finds the readings that a store refuses for good, so that the others of the same request are stored. */

/**
 * Writes all items and halves what the store refuses, until each refused item stands alone. The halves are written one
 * after the other in their order, so that the last written value of a time wins. A few refused items among many cost about
 * 2 log₂(n) requests each.
 * @param write resolves to false when the store refuses at least one of these items for good. `from` is the place of the
 * first of them. It may throw: then nothing is known of the items that were not written yet.
 * @returns the places of the refused items, ascending.
 */
export async function isolateRefused<T>(
  items: readonly T[],
  write: (items: readonly T[], from: number) => Promise<boolean>,
): Promise<number[]> {
  const refused: number[] = []
  const writeRange = async (from: number, to: number): Promise<void> => {
    if (from === to || (await write(items.slice(from, to), from))) return
    if (to - from === 1) {
      refused.push(from)
      return
    }
    const middle = from + ((to - from) >> 1)
    await writeRange(from, middle)
    await writeRange(middle, to)
  }
  await writeRange(0, items.length)
  return refused
}
