/** Times below a chart, in the language and the zone of the browser. */

const formats = {
  second: new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit', second: '2-digit' }),
  minute: new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' }),
  day: new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' }),
  month: new Intl.DateTimeFormat(undefined, { month: 'short' }),
  year: new Intl.DateTimeFormat(undefined, { year: 'numeric' }),
} as const

const day = 86_400
const month = 28 * day

/** The format of a time, and the one that is written below it where it changes. */
const formatsFor = (increment: number) => {
  if (increment < 60) return [formats.second, formats.day] as const
  if (increment < day) return [formats.minute, formats.day] as const
  return [increment < month ? formats.day : formats.month, formats.year] as const
}

/**
 * @param times seconds since the epoch, ascending.
 * @param increment seconds from one to the next.
 * @returns one or two lines for each; the second one stands where the day, or the year, is another one.
 */
export function timeTexts(times: readonly number[], increment: number): string[] {
  const [fine, coarse] = formatsFor(increment)
  let before = ''
  return times.map((time) => {
    const date = new Date(time * 1000)
    const below = coarse.format(date)
    const isNew = below !== before
    before = below
    return isNew ? `${fine.format(date)}\n${below}` : fine.format(date)
  })
}
