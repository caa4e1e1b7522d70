/** The functions of the system in this process, by the names that they have in serverless.yml. */
import type { FunctionModule } from '../lib/http/route.ts'
import type { HttpHandler } from '../lib/lambda/handler.ts'
import { type FunctionTable, loadFunctionTable } from './function-table.ts'

export interface Functions extends FunctionTable {
  /** The exports of a function's file. @throws {Error} when there is no such function. */
  module(functionName: string): Promise<FunctionModule>
  /** The function as an HTTP handler. @throws {Error} when there is no such function. */
  http(functionName: string): Promise<HttpHandler>
  /** The function as an event handler. @throws {Error} when there is no such function. */
  event(functionName: string): Promise<(event: unknown) => Promise<unknown>>
}

/** Reads the table; a function is loaded when it is asked for. */
export async function loadFunctions(): Promise<Functions> {
  const table = await loadFunctionTable()
  const module = async (name: string): Promise<FunctionModule> => {
    const [area, action] = table.file(name).split(/[/.]/).slice(1, 3)
    // esbuild and vitest replace this pattern by all files that it fits: both parts must stay variables.
    return (await import(`../functions/${area}/${action}.ts`)) as FunctionModule
  }
  return {
    ...table,
    module,
    http: async (name) => (await module(name)).handler as HttpHandler,
    event: async (name) => (await module(name)).handler as (event: unknown) => Promise<unknown>,
  }
}
