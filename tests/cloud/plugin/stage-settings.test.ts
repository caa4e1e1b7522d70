import { writeFile } from 'node:fs/promises'
import { expect, it, onTestFinished } from 'vitest'
import { parseStage, readStageSettings, stages } from '../../../cloud/plugin/stage-settings.ts'
import { settingsSchema } from '../../../lib/settings.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const folderWith = async (files: Readonly<Record<string, string>>) => {
  const folder = await temporaryFolder()
  onTestFinished(() => folder.remove())
  for (const [name, text] of Object.entries(files)) await writeFile(`${folder.path}/${name}`, text)
  return folder.path
}

it('deploys every stage that functions start in, but not local', () => {
  const { options } = settingsSchema.shape.STAGE.unwrap()
  expect(options).toEqual(['local', ...stages])
  for (const stage of stages) expect(parseStage(stage)).toBe(stage)
  for (const stage of ['local', 'test', 'Prod', '', undefined])
    expect(() => parseStage(stage)).toThrow(/^--stage must be dev, staging or prod/)
})

it('reads the file of the stage and no other one; the environment goes first', async () => {
  const folder = await folderWith({
    '.env': 'OPEN_REGISTRATION=true\nLOG_LEVEL=debug\n',
    '.env.dev': 'LOG_LEVEL=debug\n',
    '.env.prod':
      '# comment\nDATABASE_URL=libsql://of-the-file\nRETENTION_DAYS="7"\nOFFLINE_AFTER_S=\nTYPO=1\n',
  })
  const environment = { DATABASE_URL: 'libsql://of-the-environment', RETENTION_DAYS: '', TYPO: '2' }
  const { settings, namesInFile } = readStageSettings('prod', environment, folder)
  expect(settings).toEqual({
    DATABASE_URL: { value: 'libsql://of-the-environment', source: 'environment' },
    RETENTION_DAYS: { value: '7', source: '.env.prod' },
  })
  expect(namesInFile).toEqual(['DATABASE_URL', 'OFFLINE_AFTER_S', 'RETENTION_DAYS', 'TYPO'])
})

it('takes no secret and no stage, which have places of their own', async () => {
  const folder = await folderWith({ '.env.dev': 'ADMIN_TOKEN=secret\nSTAGE=prod\n' })
  const environment = { DATABASE_AUTH_TOKEN: 'secret', STAGE: 'prod', IOT_DOMAIN_CONFIGURATION: 'other' }
  const { settings } = readStageSettings('dev', environment, folder)
  expect(settings).toEqual({})
})

it('does without a file', async () => {
  expect(readStageSettings('staging', {}, await folderWith({}))).toEqual({ settings: {}, namesInFile: [] })
})
