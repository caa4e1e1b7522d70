/**
 * An operator's report: every device with its newest values.
 *
 *   ADMIN_TOKEN=$(cat .iotflow/admin-token) node examples/node/operator.mjs
 *
 * IOTFLOW_URL names the server.
 */
import { answerOf, createClient, RequestError } from 'iotflow-serverless/client'

const url = process.env.IOTFLOW_URL ?? 'http://localhost:5000'
const iotflow = createClient({ url, adminToken: process.env.ADMIN_TOKEN })

/** The newest values of a device; none when it has not sent any. */
const latest = async (id) => {
  const call = iotflow.GET('/api/v1/telemetry/{id}/latest', { params: { path: { id } } })
  try {
    return (await answerOf(call)).latest_data
  } catch (error) {
    if (error instanceof RequestError && error.status === 404) return {}
    throw error
  }
}

let cursor
do {
  const query = { limit: 100, ...(cursor && { cursor }) }
  const page = await answerOf(iotflow.GET('/api/v1/admin/devices', { params: { query } }))
  for (const { id, name, is_online } of page.devices)
    console.log(`${name} ${is_online ? 'online' : 'offline'} ${JSON.stringify(await latest(id))}`)
  cursor = page.next_cursor
} while (cursor)
