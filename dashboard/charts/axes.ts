/** Shares the fields of a chart out to at most two axes, so that none of them is squeezed to a flat line. */

export interface Extent {
  readonly field: string
  readonly min: number
  readonly max: number
  /** From the metadata `unit.<field>`, where the device sends it. */
  readonly unit?: string | undefined
}

export interface Axes {
  readonly left: readonly string[]
  readonly right: readonly string[]
  /** Fields that no axis shows well: they would be flat. */
  readonly squeezed: readonly string[]
}

/** A line shall use at least this part of the height. */
const leastHeight = 1 / 6

class Axis {
  readonly fields: string[] = []
  #min = Number.POSITIVE_INFINITY
  #max = Number.NEGATIVE_INFINITY
  #narrowest = Number.POSITIVE_INFINITY
  #unit: string | undefined

  /** The part of the height that the most squeezed line would use with this field; 0 beside another unit. */
  heightWith({ min, max, unit }: Extent): number {
    if (this.fields.length > 0 && unit !== this.#unit) return 0
    const range = Math.max(this.#max, max) - Math.min(this.#min, min)
    const narrowest = Math.min(this.#narrowest, heightOf(min, max))
    return range === 0 ? 1 : narrowest / range
  }

  add({ field, min, max, unit }: Extent): void {
    this.fields.push(field)
    this.#min = Math.min(this.#min, min)
    this.#max = Math.max(this.#max, max)
    this.#narrowest = Math.min(this.#narrowest, heightOf(min, max))
    this.#unit = unit
  }
}

/** A value that never changes asks for a place, not for height: a tenth of its size. */
const heightOf = (min: number, max: number): number =>
  max > min ? max - min : Math.max(Math.abs(max) / 10, Number.MIN_VALUE)

/** The first field has the left axis; the others go where they keep most of their height, and stay in their order. */
export function assignAxes(extents: readonly Extent[]): Axes {
  const [left, right] = [new Axis(), new Axis()]
  const squeezed: string[] = []
  for (const extent of extents) {
    if (left.fields.length === 0 || left.heightWith(extent) >= leastHeight) left.add(extent)
    else if (right.fields.length === 0 || right.heightWith(extent) >= leastHeight) right.add(extent)
    else squeezed.push(extent.field)
  }
  return { left: left.fields, right: right.fields, squeezed }
}
