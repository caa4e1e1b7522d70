import { describe } from 'vitest'
import { sweepCases } from './sweep-cases.ts'

describe('the sweep of alerts, in files', () => sweepCases(async () => ({ env: {}, end: async () => {} })))
