/** Texts of devices in the form that a search compares: SQLite itself knows upper and lower case of ASCII only. */
import { asc, isNull, sql } from 'drizzle-orm'
import type { RegistryDb } from './db.ts'
import { devices } from './schema.ts'

/** Names are equal when they look equal: composed and decomposed letters are the same (NFC). */
export const normalName = (name: string): string => name.normalize('NFC')

/**
 * The text without the difference between upper and lower case, in any script; equal texts of Unicode become one (NFC). By way
 * of upper case `ß` becomes `ss`, and by way of lower case so does `ẞ`.
 */
export const foldText = (text: string): string =>
  text.normalize('NFC').toLowerCase().toUpperCase().toLowerCase().normalize('NFC').replaceAll('ς', 'σ')

/** The columns that keep the folded form of the texts that are given; null for a text that is deleted. */
export const foldedTexts = (texts: {
  readonly name?: string | undefined
  readonly location?: string | null | undefined
  readonly description?: string | null | undefined
}) => {
  const fold = (text: string | null | undefined) =>
    text === undefined || text === null ? text : foldText(text)
  return {
    nameFolded: fold(texts.name),
    locationFolded: fold(texts.location),
    descriptionFolded: fold(texts.description),
  }
}

const pageSize = 500

/**
 * Fills the folded texts of devices that earlier versions wrote, and gives their names the form NFC. A device keeps its name
 * when another has that form already: both work on.
 */
export async function foldExistingTexts(db: RegistryDb): Promise<void> {
  for (;;) {
    const page = await db
      .select({
        id: devices.id,
        name: devices.name,
        location: devices.location,
        description: devices.description,
      })
      .from(devices)
      .where(isNull(devices.nameFolded))
      .orderBy(asc(devices.id))
      .limit(pageSize)
    if (page.length === 0) return
    const names = page
      .filter(({ name }) => name !== normalName(name))
      .map(({ id, name }) => [id, normalName(name)])
    const folded = page.map((row) => {
      const { nameFolded, locationFolded, descriptionFolded } = foldedTexts(row)
      return [row.id, nameFolded, locationFolded, descriptionFolded]
    })
    await db.batch([
      db.run(sql`update or ignore devices set name = page.name
        from (select value ->> 0 as id, value ->> 1 as name from json_each(${JSON.stringify(names)})) as page
        where devices.id = page.id`),
      db.run(sql`update devices
        set name_folded = page.name, location_folded = page.location, description_folded = page.description
        from (select value ->> 0 as id, value ->> 1 as name, value ->> 2 as location, value ->> 3 as description
          from json_each(${JSON.stringify(folded)})) as page
        where devices.id = page.id`),
    ])
  }
}
