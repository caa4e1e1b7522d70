/** Pages of commands, which may be large. */

/** Bytes of the commands on a page: a Lambda function answers at most 6 MB. */
const maxPageBytes = 4 * 1024 * 1024

/** The first items that fit into a page, at least one. */
export const withinPage = <Item>(items: readonly Item[]): Item[] => {
  let bytes = 0
  return items.filter((item, index) => {
    bytes += Buffer.byteLength(JSON.stringify(item))
    return index === 0 || bytes <= maxPageBytes
  })
}
