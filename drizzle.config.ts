import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'sqlite',
  schema: ['./lib/registry/schema.ts', './lib/registry/webhook-tables.ts'],
  out: './lib/registry/migrations',
})
