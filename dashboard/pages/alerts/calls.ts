/** Changes of alerts and rules. */
import { post, put, remove } from '../../api.ts'

/** @param note an empty one is left out. */
export const acknowledge = (id: number, note: string) =>
  post<unknown>(`admin/alerts/${id}/acknowledge`, note.trim() === '' ? {} : { note: note.trim() })

export const addNote = (id: number, text: string) =>
  post<unknown>(`admin/alerts/${id}/notes`, { text: text.trim() })

export const setEnabled = (id: number, enabled: boolean) =>
  put<unknown>(`admin/alert-rules/${id}`, { enabled })

export const deleteRule = (id: number) => remove<unknown>(`admin/alert-rules/${id}`)
