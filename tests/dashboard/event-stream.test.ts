import { describe, expect, it } from 'vitest'
import { EventStreamParser, readEvents, type StreamEvent } from '../../dashboard/event-stream.ts'

const parse = (...pieces: string[]) => {
  const parser = new EventStreamParser()
  return pieces.flatMap((piece) => parser.push(piece))
}
const event = (type: string, data: string, id?: string) => ({ type, data, id })

describe('the parser of event streams', () => {
  it.each(['\n', '\r\n', '\r'])('reads types, data and ids, with lines that end with %j', (end) => {
    const lines = [
      'id: 7',
      'event: reading',
      'data: {"a":1}',
      '',
      'data: one',
      'data: two',
      '',
      ': nothing',
      '',
    ]
    expect(parse(lines.join(end), end, 'data:last', end + end, 'x')).toEqual([
      event('reading', '{"a":1}', '7'),
      event('message', 'one\ntwo', '7'),
      event('message', 'last', '7'),
    ])
  })

  it('reads the same, wherever the text is cut', () => {
    const text = 'event: overview\r\nid: 12\r\ndata: {"x":"é"}\r\n\r\ndata: b\n\n'
    const whole = parse(text)
    expect(whole).toHaveLength(2)
    expect(parse(...text)).toEqual(whole)
    for (let at = 1; at < text.length; at += 1)
      expect(parse(text.slice(0, at), text.slice(at)), String(at)).toEqual(whole)
  })

  it('gives nothing for an event without data, and for one that is not complete', () => {
    expect(parse('event: overview\n\n', 'id: 3\n\n', 'data: half')).toEqual([])
  })

  it('ends a stream whose line never ends', () => {
    const parser = new EventStreamParser()
    const piece = 'x'.repeat(1_000_000)
    expect(() => {
      for (let n = 0; n < 5; n += 1) parser.push(piece)
    }).toThrow('too long')
  })

  it('puts characters together that arrive in two pieces', async () => {
    const bytes = new TextEncoder().encode('data: 21 °C\n\n')
    const events: StreamEvent[] = []
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte))
        controller.close()
      },
    })
    await readEvents(
      body,
      (one) => events.push(one),
      () => {},
    )
    expect(events).toEqual([event('message', '21 °C')])
  })
})
