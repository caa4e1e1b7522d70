/** Texts of devices in the form that a search compares: SQLite itself knows upper and lower case of ASCII only. */
import { asc, isNull, sql } from 'drizzle-orm'
import type { RegistryDb } from './db.ts'
import { devices } from './schema.ts'

/** Names are equal when they look equal: composed and decomposed letters are the same (NFC). */
export const normalName = (name: string): string => name.normalize('NFC')

/**
 * The text without the difference between upper and lower case, in any script; equal texts of Unicode become one (NFC). By way
 * of upper case `ß` becomes `ss`, and by way of lower case so does `ẞ`. The character 0, where SQLite's index of texts ends, becomes
 * a blank.
 */
export const foldText = (text: string): string =>
  text
    .normalize('NFC')
    .toLowerCase()
    .toUpperCase()
    .toLowerCase()
    .normalize('NFC')
    .replaceAll('ς', 'σ')
    .replaceAll('\0', ' ')

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

/** Devices that one transaction adds to the index of texts: others write in between. */
const indexedAtOnce = 5000

/** Adds the devices of before to the index of texts, the newest first. Several processes may do so at once. */
export async function indexExistingTexts(db: RegistryDb): Promise<void> {
  const begin = sql`(select id from device_texts_begin)`
  const texts = sql.raw(
    ['name', 'location', 'description'].map((text) => `coalesce(${text}_folded, lower(${text}))`).join(', '),
  )
  const page = sql`from devices where id < ${begin} order by id desc limit ${indexedAtOnce}`
  for (;;) {
    const [left] = await db.all<{ id: number }>(sql`select id from device_texts_begin where id > 0`)
    if (left === undefined) return
    await db.batch([
      db.run(sql`insert into device_texts (rowid, name, location, description) select id, ${texts} ${page}`),
      db.run(sql`update device_texts_begin set id = coalesce((select min(id) from (select id ${page})), 0)`),
    ])
  }
}
