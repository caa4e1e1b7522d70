/** Swagger UI as the viewer of the OpenAPI document: a page without inline code, and the three files that it loads. */
import { hash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { root } from '../root.ts'

export const viewerPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>IoTFlow API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/viewer.css">
<script src="/docs/viewer.js" defer></script>
<script src="/docs/start.js" defer></script>
</head>
<body><main id="docs"><noscript>This page needs JavaScript. The document itself is at <a href="/openapi.json">/openapi.json</a>.</noscript></main></body>
</html>
`

/**
 * Only files of this server, and no inline script or style. The pictures of the viewer are `data:` addresses in its style. A
 * request that is tried out goes to this server too.
 */
export const viewerPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  'img-src data:',
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/**
 * Credentials that are typed in stay in the memory of the page. The address comes from the browser: behind a proxy the server does
 * not know it.
 */
const start = `const dark = matchMedia('(prefers-color-scheme: dark)')
const useScheme = () => document.documentElement.classList.toggle('dark-mode', dark.matches)
dark.addEventListener('change', useScheme)
useScheme()
fetch('/openapi.json')
  .then((answer) => answer.json())
  .then((answer) => {
    if (answer.error) throw new Error(answer.error.message)
    SwaggerUIBundle({
      spec: { ...answer, servers: [{ url: location.origin }] },
      dom_id: '#docs',
      deepLinking: true,
      docExpansion: 'list',
      defaultModelsExpandDepth: 0,
      displayRequestDuration: true,
      filter: true,
      validatorUrl: null,
    })
  })
  .catch((error) => {
    document.getElementById('docs').textContent = 'The API cannot be shown: ' + error.message
  })
`

export interface ViewerFile {
  readonly contentType: string
  readonly content: Buffer
  /** The content, compressed with gzip. */
  readonly gzipped: Buffer
  /** A digest of the content. */
  readonly version: string
}

/** Of the package swagger-ui-dist: a deployed function has them beside its bundle. */
const folder = 'node_modules/swagger-ui-dist/'
const sources: Readonly<
  Record<string, { readonly contentType: string; readonly read: () => Promise<Buffer> }>
> = {
  'viewer.js': {
    contentType: 'text/javascript; charset=utf-8',
    read: () => readFile(new URL(`${folder}swagger-ui-bundle.js`, root)),
  },
  'viewer.css': {
    contentType: 'text/css; charset=utf-8',
    read: () => readFile(new URL(`${folder}swagger-ui.css`, root)),
  },
  'start.js': { contentType: 'text/javascript; charset=utf-8', read: async () => Buffer.from(start) },
}

const compress = promisify(gzip)

/** Reads and compresses each file when it is first asked for: few servers ever show the page. */
export class ViewerFiles {
  readonly #loaded = new Map<string, Promise<ViewerFile>>()

  /** @returns undefined for a name that is none of the viewer. */
  file(name: string): Promise<ViewerFile> | undefined {
    const source = Object.hasOwn(sources, name) ? sources[name] : undefined
    if (source === undefined) return undefined
    let file = this.#loaded.get(name)
    if (file === undefined) {
      file = this.#load(source)
      this.#loaded.set(name, file)
      // The next request tries again.
      file.catch(() => this.#loaded.delete(name))
    }
    return file
  }

  async #load({ contentType, read }: (typeof sources)[string]): Promise<ViewerFile> {
    const content = await read()
    return {
      contentType,
      content,
      gzipped: await compress(content),
      version: hash('sha256', content, 'hex').slice(0, 32),
    }
  }
}
