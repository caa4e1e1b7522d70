import { describe, expect, it } from 'vitest'
import { addRoutes, createApp, pathOf, type RoutedApp } from '../../../lib/http/router.ts'
import { openEndpoint } from '../../support/http-app.ts'

describe('the path of a request', () => {
  it.each([
    ['/', '/'],
    ['//', '/'],
    ['/health', '/health'],
    ['/health/', '/health'],
    ['/health///', '/health'],
    ['//health', '//health'],
    ['/a%20b/', '/a b'],
    ['/health/?q=/', '/health'],
  ])('%s is read as %s', (path, read) => {
    expect(pathOf(new Request(`http://localhost${path}`))).toBe(read)
  })
})

describe('an app of many routes', () => {
  const built: string[] = []
  const answering = (address: `${'GET' | 'POST'} ${string}`): RoutedApp => {
    const [method = '', path = ''] = address.split(' ')
    return {
      method,
      path,
      app: async () => {
        built.push(path)
        return openEndpoint([address], (c, reply) => reply(200, `${address} got ${c.req.path}`))
      },
    }
  }
  const app = createApp()
  addRoutes(app, [answering('GET /a/:id'), answering('GET /a/status'), answering('POST /b')])
  const ask = async (method: string, path: string) => {
    const answer = await app.request(path, { method })
    return [answer.status, await answer.text()]
  }

  it('passes a request to the app of its route, and loads no other', async () => {
    expect(await ask('POST', '/b')).toEqual([200, 'POST /b got /b'])
    expect(built).toEqual(['/b'])
  })

  it('prefers a fixed segment to a parameter', async () => {
    expect(await ask('GET', '/a/status')).toEqual([200, 'GET /a/status got /a/status'])
    expect(await ask('GET', '/a/7')).toEqual([200, 'GET /a/:id got /a/7'])
  })

  it('answers a path with slashes at its end, and HEAD without a body', async () => {
    expect(await ask('GET', '/a/7/')).toEqual([200, 'GET /a/:id got /a/7'])
    expect(await ask('HEAD', '/a/7/')).toEqual([200, ''])
    expect((await ask('HEAD', '/b'))[0]).toBe(404)
  })
})
