/** Builds the functions once and packages the stages once; every test of this folder reads the same packages. */
import { mkdir } from 'node:fs/promises'
import type { TestProject } from 'vitest/node'
import { buildCloud } from '../../scripts/build.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { packageStage, type Settings, settings } from './serverless.ts'

/** The stages whose packages are made. */
export const stages = ['dev', 'prod'] as const

/** Settings that only one stage has. */
export const ownSettings: Readonly<Record<(typeof stages)[number], Settings>> = {
  dev: { CORS_ORIGINS: 'https://a.example, http://localhost:3000', ALARM_EMAIL: 'operator@example.com' },
  prod: {},
}

declare module 'vitest' {
  export interface ProvidedContext {
    /** Folder with a folder for each stage: its template and its zips. */
    packages: string
  }
}

let remove: (() => Promise<void>) | undefined

export const setup = async (project: TestProject): Promise<void> => {
  const folder = await temporaryFolder()
  remove = () => folder.remove()
  await buildCloud()
  for (const stage of stages) {
    await mkdir(`${folder.path}/${stage}`)
    await packageStage(stage, `${folder.path}/${stage}`, { ...settings, ...ownSettings[stage] })
  }
  project.provide('packages', folder.path)
}

export const teardown = async (): Promise<void> => {
  await remove?.()
}
