/** Dead letters: messages that could not be stored, to be tried again or given up. */
import { useEffect, useState } from 'preact/hooks'
import type { DeadLetter, DeadLetterList, ReplayAnswer } from '../answers.ts'
import { type ApiError, get, post, type Result, remove } from '../api.ts'
import { useCursors } from '../cursors.ts'
import { bytes, count } from '../format.ts'
import { live } from '../live.ts'
import type { PageProps } from '../pages.ts'
import { useResource } from '../resource.ts'
import { href, replaceQuery } from '../router.ts'
import { Button } from '../ui/button.tsx'
import { confirm } from '../ui/dialog.tsx'
import { Field } from '../ui/field.tsx'
import { PageHead } from '../ui/layout.tsx'
import { EmptyState, ErrorNotice, Loading, Pager } from '../ui/states.tsx'
import { type Column, Table } from '../ui/table.tsx'
import { Time } from '../ui/time.tsx'
import { toast } from '../ui/toast.tsx'
import { DeadLetterDialog } from './dead-letter-dialog.tsx'

const pageSize = 50
/** Requests that are under way at once when many letters are replayed or discarded. */
const atOnce = 4

const lettersWord = (number: number) => `${count(number)} ${number === 1 ? 'dead letter' : 'dead letters'}`

interface Outcome {
  readonly done: number
  readonly failed: readonly ApiError[]
}

/** Does one thing with many letters, some at a time. A letter that is gone meanwhile needs nothing more. */
const forEach = async (
  ids: readonly number[],
  act: (id: number) => Promise<Result<unknown>>,
): Promise<Outcome> => {
  const left = [...ids]
  const failed: ApiError[] = []
  const work = async () => {
    for (let id = left.shift(); id !== undefined; id = left.shift()) {
      const answer = await act(id)
      if (!answer.ok && answer.error.status !== 404) failed.push(answer.error)
      // Nothing more can work without a session or a server.
      if (!answer.ok && (answer.error.status === 401 || answer.error.status === 0)) left.length = 0
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return { done: ids.length - failed.length - left.length, failed }
}

const replay = (ids: readonly number[]) =>
  forEach(ids, (id) => post<ReplayAnswer>(`admin/dead-letters/${id}/replay`))
const discard = (ids: readonly number[]) => forEach(ids, (id) => remove(`admin/dead-letters/${id}`))

const report = (verb: string, { done, failed }: Outcome) => {
  const [first] = failed
  if (done > 0) toast(`${verb} ${lettersWord(done)}.`)
  if (first) toast(`${lettersWord(failed.length)} could not be: ${first.message}`, 'bad')
}

/** Control characters, and those that turn the direction of the line around, become dots. */
const printable = (text: string) => text.replaceAll(/\p{C}/gu, '·')

const columnsFor = (open: (letter: DeadLetter) => void): readonly Column<DeadLetter>[] => [
  {
    name: 'Reason',
    cell: (letter) => (
      <button type="button" class="link reason" onClick={() => open(letter)}>
        {letter.reason}
      </button>
    ),
  },
  {
    name: 'Device',
    cell: ({ device_id: id }) =>
      id === null ? <span class="muted">none</span> : <a href={href(`/devices/${id}`)}>{id}</a>,
  },
  {
    name: 'Payload',
    wideOnly: true,
    cell: ({ payload }) => <code class="excerpt">{printable(payload.slice(0, 80))}</code>,
  },
  { name: 'Readings', number: true, cell: ({ rejected }) => count(rejected) },
  { name: 'Size', number: true, wideOnly: true, cell: ({ size }) => bytes(size) },
  {
    name: 'Received',
    cell: ({ received_at: time }) => (
      <span class="nowrap">
        <Time time={time} />
      </span>
    ),
  },
]

export const DeadLettersPage = ({ query }: PageProps) => {
  const deviceId = query.get('device_id') ?? ''
  const { page, cursor, go } = useCursors(deviceId)
  const [selected, setSelected] = useState<ReadonlySet<string | number>>(new Set())
  const [opened, setOpened] = useState<DeadLetter>()
  const [busy, setBusy] = useState(false)
  const list = useResource(`${deviceId} ${cursor}`, (signal) =>
    get<DeadLetterList>(
      'admin/dead-letters',
      { limit: pageSize, cursor, device_id: /^\d{1,15}$/.test(deviceId) ? deviceId : undefined },
      { signal },
    ),
  )
  const kept = live.overview.value?.dead_letters.count
  // A list that somebody works on does not move under the pointer.
  useEffect(() => {
    if (page === 0 && selected.size === 0 && !list.loading) list.reload()
  }, [kept])

  const act = async (work: () => Promise<Outcome>, verb: string) => {
    setBusy(true)
    report(verb, await work())
    setBusy(false)
    setSelected(new Set())
    setOpened(undefined)
    list.reload()
    void live.refresh()
  }
  const replayAll = (ids: readonly number[]) => act(() => replay(ids), 'Replayed')
  const discardAll = async (ids: readonly number[]) => {
    const agreed = await confirm({
      title: `Discard ${lettersWord(ids.length)}?`,
      text: <p>What the devices sent is deleted, and stays counted as rejected. This cannot be undone.</p>,
      action: 'Discard',
      danger: true,
    })
    if (agreed) await act(() => discard(ids), 'Discarded')
  }

  const letters = list.value?.dead_letters ?? []
  const ids = letters.map(({ id }) => id).filter((id) => selected.has(id))
  return (
    <>
      <PageHead
        title="Dead letters"
        lead="Messages that could not be stored. Of each device the newest 1,000 are kept."
      />
      <div class="filters">
        <Field
          label="Device id"
          value={deviceId}
          onInput={(value) => replaceQuery({ device_id: value.trim() })}
          error={/^\d{0,15}$/.test(deviceId) ? undefined : 'An id is a number.'}
        />
        <div class="actions">
          <Button icon="replay" disabled={ids.length === 0} busy={busy} onClick={() => replayAll(ids)}>
            {ids.length > 0 ? `Replay ${count(ids.length)}` : 'Replay'}
          </Button>
          <Button icon="trash" disabled={ids.length === 0} busy={busy} onClick={() => discardAll(ids)}>
            {ids.length > 0 ? `Discard ${count(ids.length)}` : 'Discard'}
          </Button>
        </div>
      </div>
      {list.error && <ErrorNotice error={list.error} onRetry={list.reload} />}
      {list.value === undefined && list.error === undefined && <Loading lines={6} />}
      {list.value !== undefined && letters.length === 0 && page === 0 && (
        <EmptyState
          icon="check"
          title={deviceId === '' ? 'No dead letters' : 'No dead letters of this device'}
        >
          Every message that arrived could be stored.
        </EmptyState>
      )}
      {list.value !== undefined && (letters.length > 0 || page > 0) && (
        <>
          <Table
            caption="Dead letters, newest first"
            columns={columnsFor(setOpened)}
            rows={letters}
            keyOf={({ id }) => id}
            selection={{ keys: selected, onChange: setSelected, nameOf: ({ id }) => `dead letter ${id}` }}
            loading={list.loading}
          />
          <Pager
            page={page}
            pageSize={pageSize}
            shown={letters.length}
            total={list.value.total}
            hasNext={list.value.next_cursor !== undefined}
            onPage={(to) => {
              setSelected(new Set())
              go(to, list.value?.next_cursor)
            }}
          />
        </>
      )}
      {opened && (
        <DeadLetterDialog
          letter={opened}
          onReplay={() => void replayAll([opened.id])}
          onDiscard={() => void discardAll([opened.id])}
          onClose={() => setOpened(undefined)}
        />
      )}
    </>
  )
}
