/** An OpenAPI document as one page of HTML: no script, nothing loaded, its only style inline. */
import { html, raw } from 'hono/html'

/** What the page reads of a JSON Schema. */
export interface Schema {
  readonly $ref?: string
  readonly title?: string
  readonly description?: string
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, Schema | boolean>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly additionalProperties?: Schema | boolean
  readonly anyOf?: readonly Schema[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly default?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly format?: string
}

interface Parameter {
  readonly name: string
  readonly in: string
  readonly required?: boolean
  readonly description?: string
  readonly example?: unknown
  readonly schema: Schema
}

type Content = Readonly<
  Record<
    string,
    { readonly schema: Schema; readonly examples?: Readonly<Record<string, { readonly value: unknown }>> }
  >
>

interface Response {
  readonly $ref?: string
  readonly description?: string
  readonly headers?: Readonly<Record<string, unknown>>
  readonly content?: Content
}

interface Operation {
  readonly operationId: string
  readonly tags: readonly string[]
  readonly summary: string
  readonly description?: string
  readonly security: readonly Readonly<Record<string, unknown>>[]
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly required: boolean; readonly content: Content }
  readonly responses: Readonly<Record<string, Response>>
}

/** What the page reads of an OpenAPI document. */
export interface ApiDocument {
  readonly info: {
    readonly title: string
    readonly version: string
    readonly summary: string
    readonly description: string
  }
  readonly tags: readonly { readonly name: string; readonly description: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: {
    readonly securitySchemes: Readonly<
      Record<string, { readonly description: string; readonly name?: string; readonly type: string }>
    >
    readonly headers: Readonly<Record<string, { readonly description?: string }>>
    readonly responses: Readonly<Record<string, Response>>
    readonly schemas: Readonly<Record<string, Schema>>
  }
}

type Html = ReturnType<typeof html>
type Part = Html | string | readonly Part[]

interface Route extends Operation {
  readonly method: string
  readonly path: string
}

const last = (ref: string) => ref.slice(ref.lastIndexOf('/') + 1)

/** Text with `code` in backticks. */
const prose = (text = ''): Part =>
  text.split('`').map((part, i) => (i % 2 === 1 ? html`<code>${part}</code>` : part))

const range = (least: number | undefined, most: number | undefined): string => {
  // The ends of what a double holds exactly are no limits of ours.
  const from = least !== undefined && least > Number.MIN_SAFE_INTEGER ? least.toLocaleString('en') : undefined
  const to = most !== undefined && most < Number.MAX_SAFE_INTEGER ? most.toLocaleString('en') : undefined
  if (from !== undefined && to !== undefined) return from === to ? ` ${from}` : ` ${from} to ${to}`
  if (from !== undefined) return ` from ${from}`
  return to === undefined ? '' : ` up to ${to}`
}

const nameOfType: Readonly<Record<string, string>> = {
  integer: 'whole number',
  string: 'text',
  array: 'list',
  boolean: 'true or false',
}

const ofType = (schema: Schema, type: string): Part => {
  const { minimum, maximum, maxLength, items, additionalProperties, properties } = schema
  if (type === 'integer' || type === 'number') return `${nameOfType[type] ?? type}${range(minimum, maximum)}`
  if (type === 'string') {
    if (schema.format === 'date-time') return 'time'
    return maxLength === undefined ? 'text' : `text, at most ${maxLength.toLocaleString('en')} characters`
  }
  if (type === 'array' && items) return items.properties ? 'list of objects' : html`list of ${typeOf(items)}`
  if (type === 'object' && !properties && typeof additionalProperties === 'object')
    return html`${typeOf(additionalProperties)} by name`
  return nameOfType[type] ?? type
}

const joined = (parts: readonly Part[], word: string): Part =>
  parts.map((part, i) => (i === 0 ? part : html` ${word} ${part}`))

/** A type in words; one with a name links to its description. */
function typeOf(schema: Schema): Part {
  if (schema.$ref !== undefined) return html`<a href="#${last(schema.$ref)}">${last(schema.$ref)}</a>`
  if (schema.const !== undefined) return html`<code>${JSON.stringify(schema.const)}</code>`
  if (schema.enum)
    return joined(
      schema.enum.map((value) => html`<code>${String(value)}</code>`),
      '·',
    )
  if (schema.anyOf) return joined(schema.anyOf.map(typeOf), 'or')
  const types = schema.type === undefined ? [] : [schema.type].flat()
  return joined(
    types.map((type) => ofType(schema, type)),
    'or',
  )
}

interface Row {
  readonly name: string
  readonly schema: Schema
  readonly needed: boolean
}

const isEmpty = (schema: Schema) =>
  [schema.$ref, schema.type, schema.anyOf, schema.enum, schema.const, schema.description].every(
    (part) => part === undefined,
  )

/** The fields of an object, those of objects and lists within it too, unless they have a name of their own. */
const rowsOf = (schema: Schema, prefix = ''): Row[] =>
  Object.entries(schema.properties ?? {}).flatMap(([name, part]) => {
    // What may not be there is no field.
    if (typeof part === 'boolean' || part.type === 'null' || isEmpty(part)) return []
    const row = { name: prefix + name, schema: part, needed: schema.required?.includes(name) ?? false }
    const inner = part.items ?? part
    const at = `${prefix}${name}${part.items ? '[]' : ''}.`
    const { additionalProperties: more, description } = inner
    const any = inner.properties && typeof more === 'object' ? more : undefined
    const rest = any && { name: `${at}…`, schema: description ? { ...any, description } : any, needed: true }
    return [row, ...rowsOf(inner, at), ...(rest ? [rest] : [])]
  })

/** @param marks `asked`: what has to be sent is marked; `answered`: what may be left out is. */
const fields = (schema: Schema, marks: 'asked' | 'answered'): Part => {
  const rows = rowsOf(schema)
  const { additionalProperties: more } = schema
  if (rows.length === 0 && typeof more !== 'object') {
    return html`<p class="type">${typeOf(schema)}${schema.description ? html`: ${prose(schema.description)}` : ''}</p>`
  }
  const mark = (needed: boolean) => {
    if (marks === 'asked') return needed ? html` <em>required</em>` : ''
    return needed ? '' : html` <em>optional</em>`
  }
  return html`<table>
${rows.map(
  ({
    name,
    schema: part,
    needed,
  }) => html`<tr><th scope="row"><code>${name}</code>${mark(needed)}</th><td><span class="type">${typeOf(part)}</span>${part.default === undefined ? '' : html`<span class="type">; <code>${JSON.stringify(part.default)}</code> if left out</span>`}${part.description ? html`<br>${prose(part.description)}` : ''}</td></tr>
`,
)}${
  typeof more === 'object'
    ? html`<tr><th scope="row"><i>any name</i></th><td><span class="type">${typeOf(more)}</span></td></tr>`
    : ''
}</table>`
}

/** A schema with its alternatives one below the other. */
const shape = (schema: Schema, marks: 'asked' | 'answered'): Part => {
  const { anyOf } = schema
  if (!anyOf?.some((one) => one.properties)) return fields(schema, marks)
  return anyOf.map((one) => html`<h4>${one.title ?? typeOf(one)}</h4>${one.title ? fields(one, marks) : ''}`)
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

const credentialLine: Readonly<Record<string, string>> = {
  DeviceKey: '-H "X-API-Key: $API_KEY"',
  AdminToken: '-H "Authorization: Bearer $ADMIN_TOKEN"',
  EnrollmentKey: '-H "X-Enrollment-Key: $ENROLLMENT_KEY"',
}

const curl = (route: Route, origin: string): string => {
  const { method, path, parameters = [], requestBody, security } = route
  const query = parameters
    .filter((parameter) => parameter.in === 'query' && parameter.example !== undefined)
    .map(({ name, example }) => `${name}=${encodeURIComponent(String(example)).replaceAll('%3A', ':')}`)
    .join('&')
  const address = `${origin}${path.replace('{id}', '1')}${query && `?${query}`}`
  const [credential] = Object.keys(security[0] ?? {})
  const media = requestBody?.content['application/json']
  const example = Object.values(media?.examples ?? {})[0]?.value
  return [
    `curl ${method === 'GET' ? '' : `-X ${method} `}${quoted(address)}`,
    ...(credential === undefined ? [] : [credentialLine[credential] ?? '']),
    ...(example === undefined
      ? []
      : [`-H 'Content-Type: application/json'`, `-d ${quoted(JSON.stringify(example))}`]),
  ].join(' \\\n  ')
}

const whoOf = ({ security }: Operation): Part => {
  if (security.length === 0) return html`<span class="who">anybody</span>`
  return security.map((one) => {
    const [name] = Object.keys(one)
    return name === undefined
      ? html` <span class="who">anybody, where the settings open it</span>`
      : html` <a class="who" href="#${name}">${nameOfScheme[name] ?? name}</a>`
  })
}

const nameOfScheme: Readonly<Record<string, string>> = {
  DeviceKey: 'device',
  AdminToken: 'operator',
  EnrollmentKey: 'enrolment key',
}

const always = new Set(['X-Request-Id', 'RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset'])

const answers = ({ responses }: Operation): Part => {
  const own = Object.entries(responses).filter(([, response]) => response.$ref === undefined)
  const refused = Object.entries(responses).filter(([, response]) => response.$ref !== undefined)
  return html`<h4>Answers</h4>
${own.map(([status, { description, content = {}, headers = {} }]) => {
  const extra = Object.keys(headers).filter((name) => !always.has(name))
  const types = Object.entries(content)
  return html`<details${status.startsWith('2') ? raw(' open') : ''}><summary><b class="status">${status}</b> ${prose(description)}</summary>
${extra.length > 0 ? html`<p class="type">Headers: ${extra.map((name, i) => html`${i > 0 ? ', ' : ''}<code>${name}</code>`)}</p>` : ''}
${types.map(([type, { schema }]) => html`${types.length > 1 || type !== 'application/json' ? html`<p class="type"><code>${type}</code></p>` : ''}${shape(schema, 'answered')}`)}
</details>
`
})}<p class="errors">Errors: ${refused.map(([status, { $ref = '' }]) => html`<a href="#${last($ref)}">${status}</a> `)}</p>`
}

const operation = (route: Route, origin: string): Part => {
  const { operationId, method, path, summary, description, parameters = [], requestBody } = route
  const body = requestBody?.content['application/json']
  const examples = Object.entries(body?.examples ?? {})
  return html`<article id="${operationId}">
<h3><span class="method ${method.toLowerCase()}">${method}</span> <a class="path" href="#${operationId}">${path.split('/').map((part, i) => (i === 0 ? '' : html`<wbr>/${part}`))}</a></h3>
<p class="lead">${summary}. <span class="callers">${whoOf(route)}</span></p>
${description ? html`<p>${prose(description)}</p>` : ''}
${
  parameters.length > 0
    ? html`<h4>Parameters</h4><table>
${parameters.map(
  ({
    name,
    in: place,
    required,
    description: about,
    schema,
  }) => html`<tr><th scope="row"><code>${name}</code>${required ? html` <em>required</em>` : ''} <em>${place}</em></th><td><span class="type">${typeOf(schema)}</span>${about ? html`<br>${prose(about)}` : ''}</td></tr>
`,
)}</table>`
    : ''
}
${body ? html`<h4>Body${requestBody?.required ? '' : ', may be left out'}</h4>${shape(body.schema, 'asked')}` : ''}
${
  examples.length > 1
    ? html`<details><summary>Examples of the body</summary>${examples.map(([name, { value }]) => html`<p class="type">${name}</p><pre>${JSON.stringify(value, null, 2)}</pre>`)}</details>`
    : ''
}
<h4>Example</h4><pre>${curl(route, origin)}</pre>
${answers(route)}
</article>
`
}

/** The only style of the page; a policy that names its digest lets nothing else in. */
export const pageStyle = `
:root{color-scheme:light dark;--bg:#fff;--fg:#1b2430;--soft:#57606e;--line:#dde2e9;--panel:#f5f7fa;--link:#0a5cc2;
--get:#0a5cc2;--post:#14733f;--put:#8a5a00;--delete:#b3261e}
@media(prefers-color-scheme:dark){:root{--bg:#12161c;--fg:#e3e8ef;--soft:#9aa6b5;--line:#2b333e;--panel:#1a2029;--link:#7db4ff;
--get:#7db4ff;--post:#6fd39a;--put:#f0b95a;--delete:#ff8f87}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
code,pre,.path,.method{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.875em}
header,main{max-width:54rem;padding:0 1.25rem}
header{padding-top:2rem}
h1{font-size:2rem;line-height:1.2;margin:0 0 .25rem}
h1 small{font-size:1rem;font-weight:400;color:var(--soft)}
h2{font-size:1.5rem;margin:3rem 0 .25rem;padding-top:1rem;border-top:2px solid var(--line)}
h3{font-size:1.05rem;margin:0 0 .35rem;font-weight:600;overflow-wrap:anywhere}
h4{font-size:.8rem;margin:1.25rem 0 .35rem;color:var(--soft);font-weight:600}
p{margin:.35rem 0}
article{margin:1.5rem 0;padding:1.1rem 1.25rem 1rem;border:1px solid var(--line);border-radius:.6rem}
article:target{border-color:var(--link)}
.lead{font-weight:500}
.path{color:inherit;font-size:1rem}
.method{display:inline-block;min-width:3.9em;padding:.1em .5em;border:1px solid currentColor;border-radius:.35em;text-align:center;font-weight:700;font-size:.8rem}
.get{color:var(--get)}.post{color:var(--post)}.put{color:var(--put)}.delete{color:var(--delete)}
.callers{white-space:normal}
.who{display:inline-block;padding:0 .6em;border-radius:1em;background:var(--panel);border:1px solid var(--line);color:var(--soft);font-size:.8rem;font-weight:400}
.type,.errors,em{color:var(--soft);font-size:.9rem}
em{font-style:normal;font-weight:400;font-size:.75rem}
.errors a{display:inline-block;padding:0 .15em}
table{width:100%;border-collapse:collapse;font-size:.95rem}
th,td{padding:.4rem .75rem .4rem 0;border-top:1px solid var(--line);text-align:left;vertical-align:top;overflow-wrap:anywhere}
tr:first-child>*{border-top:0}
th{width:36%;font-weight:400}
pre{margin:.35rem 0;padding:.75rem 1rem;background:var(--panel);border:1px solid var(--line);border-radius:.4rem;white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.45}
summary{cursor:pointer}
details{margin:.35rem 0}
.status{font-variant-numeric:tabular-nums}
nav{font-size:.9rem}
nav ul{list-style:none;margin:0 0 .9rem;padding:0}
nav li{padding:.1rem 0;overflow-wrap:anywhere;line-height:1.35}
nav strong{display:block;margin:.2rem 0}
nav .method{border:0;min-width:4.4em;padding:0;text-align:left;font-size:.68rem}
@media(max-width:69.99rem){nav{max-height:15rem;margin:1.25rem;padding:.75rem 1rem;overflow-y:auto;border:1px solid var(--line);border-radius:.6rem;background:var(--panel)}}
@media(min-width:70rem){body{display:grid;grid-template-columns:21rem minmax(0,1fr);grid-template-rows:auto 1fr}
header,main{grid-column:2}
nav{grid-row:1/3;grid-column:1;position:sticky;top:0;height:100vh;overflow-y:auto;padding:1.5rem 1rem 2rem 1.5rem;border-right:1px solid var(--line);background:var(--panel)}
header,main{padding-left:2.5rem;padding-right:2.5rem}}
@media(max-width:34rem){article{padding:.9rem .9rem .75rem}table,tbody,tr,th,td{display:block;width:100%}th{padding-bottom:0}td{border-top:0;padding-top:.1rem}}
main{padding-bottom:4rem}
`

/** @param origin where the API is, as `https://host:port`. */
export function apiPage(document: ApiDocument, origin: string): string {
  const { info, tags, components } = document
  const routes: Route[] = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => ({
      ...described,
      method: method.toUpperCase(),
      path,
    })),
  )
  const of = (tag: string) => routes.filter((route) => route.tags.includes(tag))
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>${info.title} ${info.version}: the API</title>
<style>${raw(pageStyle)}</style>
</head>
<body>
<header>
<h1>${info.title} <small>${info.version}</small></h1>
<p>${prose(info.summary)}</p>
<p>${prose(info.description)} The same for programs: <a href="/openapi.json">openapi.json</a>.</p>
</header>
<nav aria-label="Operations">
${tags.map(
  ({ name }) => html`<strong><a href="#${name}">${name}</a></strong><ul>
${of(name).map(
  ({
    operationId,
    method,
    path,
  }) => html`<li><a href="#${operationId}"><span class="method ${method.toLowerCase()}">${method}</span>${path.replace('/api/v1', '')}</a></li>
`,
)}</ul>
`,
)}<ul><li><a href="#errors">Errors</a></li><li><a href="#shapes">Shapes</a></li></ul></nav>
<main>
<h2 id="callers">Who may call</h2>
<table>
${Object.entries(components.securitySchemes).map(
  ([
    name,
    { type, name: header, description },
  ]) => html`<tr id="${name}"><th scope="row">${nameOfScheme[name] ?? name}</th><td><code>${type === 'http' ? 'Authorization: Bearer …' : `${header}: …`}</code><br>${prose(description)}</td></tr>
`,
)}</table>
<p>Every answer has <code>X-Request-Id</code>; routes that are limited have <code>RateLimit-Limit</code>, <code>RateLimit-Remaining</code> and <code>RateLimit-Reset</code>.</p>
${tags.map(
  ({ name, description }) => html`<h2 id="${name}">${name}</h2>
<p>${prose(description)}</p>
${of(name).map((route) => operation(route, origin))}`,
)}
<h2 id="errors">Errors</h2>
<p>All have the shape <a href="#Error">Error</a>.</p>
<table>
${Object.entries(components.responses).map(
  ([
    name,
    { description, headers = {} },
  ]) => html`<tr id="${name}"><th scope="row"><b class="status">${statusOf(routes, name)}</b> ${name}</th><td>${prose(description)}${Object.keys(
    headers,
  )
    .filter((header) => !always.has(header))
    .map(
      (header) =>
        html` <code>${header}</code>${prose(components.headers[header]?.description?.replace(/^./, (first) => `: ${first.toLowerCase()}`))}`,
    )}</td></tr>
`,
)}</table>
<h2 id="shapes">Shapes</h2>
${Object.entries(components.schemas).map(
  ([name, schema]) => html`<article id="${name}"><h3>${name}</h3>
${schema.description && (schema.properties || schema.anyOf || schema.additionalProperties) ? html`<p>${prose(schema.description)}</p>` : ''}${shape(schema, name.startsWith('Telemetry') ? 'asked' : 'answered')}</article>
`,
)}
</main>
</body>
</html>
`
  return String(page)
}

const statusOf = (routes: readonly Route[], name: string): string => {
  for (const { responses } of routes) {
    for (const [status, { $ref = '' }] of Object.entries(responses)) if (last($ref) === name) return status
  }
  return ''
}
