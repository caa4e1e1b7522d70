/** `npm run manage -- …` and `iotflow …`: the command that runs IoTFlow. */
import { runCommand, runProgram } from '../scripts/command.ts'
import { iotflowProgram } from './program.ts'

export const main = () => runCommand(() => runProgram(iotflowProgram(), process.argv.slice(2)))
