import { describe, expect, it } from 'vitest'
import { AddressRules, checkUrl, type Resolve, resolveBySystem } from '../../../lib/webhooks/address-rules.ts'

const none = new AddressRules([])
const allowing = new AddressRules(['127.0.0.1', '10.0.0.0/8', 'fd00::/8'])
const problem = (url: string, rules = none) => rules.problemOf(new URL(url))
const to =
  (...addresses: string[]): Resolve =>
  async () =>
    addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))

describe('an address in a URL', () => {
  it.each([
    '127.0.0.1',
    '127.1',
    '2130706433',
    '0x7f000001',
    '0177.0.0.1',
    '0.0.0.0',
    '0',
    '127.0.0.1.',
    '017700000001',
    '\uff11\uff12\uff17.0.0.1',
    '\u2460\u2461\u2466\u30020\u30020\u30021',
    '10.1.2.3',
    '100.64.0.1',
    '168.63.129.16',
    '169.254.169.254',
    '172.16.0.1',
    '192.0.0.8',
    '192.0.2.1',
    '192.168.0.1',
    '198.18.0.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '[::]',
    '[::1]',
    '[::7f00:1]',
    '[::ffff:127.0.0.1]',
    '[::ffff:169.254.169.254]',
    '[::ffff:0:127.0.0.1]',
    '[64:ff9b::7f00:1]',
    '[64:ff9b::10.0.0.1]',
    '[64:ff9b:1::7f00:1]',
    '[2002:7f00:1::]',
    '[2002:a00:1::1]',
    '[2001::1]',
    '[2001:db8::1]',
    '[2002:a9fe:a9fe::]',
    '[3fff::1]',
    '[5f00::1]',
    '[fe80::1]',
    '[fec0::1]',
    '[fc00::1]',
    '[fd12::1]',
    '[ff02::1]',
    '[4000::1]',
  ])('that is private or reserved is refused: %s', (host) => {
    for (const scheme of ['https', 'http'])
      expect(problem(`${scheme}://${host}/hook`), scheme).toMatch(/leads to a private or reserved address/)
  })

  it.each(['93.184.216.34', '[2606:2800:220:1::1]', '[64:ff9b::5db8:d822]', '[2002:5db8:d822::1]'])(
    'of the public network may be called by https: %s',
    (host) => {
      expect(problem(`https://${host}/hook`)).toBeUndefined()
      expect(problem(`http://${host}/hook`)).toMatch(/must begin with https/)
      expect(problem(`http://${host}/hook`, allowing)).toMatch(/must begin with https/)
    },
  )

  it('that the setting allows may be called, also by http, in every form', () => {
    for (const host of ['127.0.0.1', '2130706433', '10.9.8.7', '[::ffff:10.0.0.1]', '[fd00::5]'])
      for (const scheme of ['https', 'http'])
        expect(problem(`${scheme}://${host}`, allowing), host).toBeUndefined()
    for (const host of ['127.0.0.2', '11.0.0.1', '[fc00::1]', '169.254.169.254'])
      expect(problem(`http://${host}`, allowing), host).toBeDefined()
  })
})

describe('a URL', () => {
  it.each(['http://example.com', 'ftp://example.com', 'file:///etc/passwd', 'data:text/plain,x'])(
    'needs https: %s',
    (url) => expect(problem(url)).toMatch(/must begin with https/),
  )

  it('holds no name and no password', () => {
    expect(problem('https://user@example.com')).toMatch(/no name and no password/)
    expect(problem('https://:secret@example.com')).toMatch(/no name and no password/)
    expect(problem('https://93.184.216.34@127.0.0.1')).toBeDefined()
  })

  it('with a name that leads to a private address is refused where that shows', async () => {
    const check = (url: string, resolve: Resolve, rules = none) =>
      checkUrl(url, rules, resolve).then(
        () => 'taken',
        (error: Error & { code?: string; details?: { path: string }[] }) => [
          error.code,
          error.details?.[0]?.path,
        ],
      )
    const refused = ['VALIDATION_FAILED', 'url']
    expect(await check('https://a.example', to('93.184.216.34'))).toBe('taken')
    expect(await check('https://a.example', to('127.0.0.1'))).toEqual(refused)
    expect(await check('https://a.example', to('93.184.216.34', '::1'))).toEqual(refused)
    for (const name of ['localhost', 'LOCALHOST'])
      expect(await check(`https://${name}`, resolveBySystem), name).toEqual(refused)
    expect(await check('https://a.example', to('fe80::1%eth0'))).toEqual(refused)
    expect(await check('http://localhost', resolveBySystem, new AddressRules(['127.0.0.0/8', '::1']))).toBe(
      'taken',
    )
    expect(await check('http://a.example', to('93.184.216.34'), allowing)).toEqual(refused)
    expect(await check('no address', to())).toEqual(refused)
    // The name may be known later.
    expect(await check('https://a.example', () => Promise.reject(new Error('unknown')))).toBe('taken')
  })
})
