import { spawnSync } from 'node:child_process'

/** The linter of CloudFormation templates: `CFN_LINT`, or `cfn-lint` on the PATH; undefined when it is not installed. */
export const cfnLint = [process.env.CFN_LINT, 'cfn-lint'].find(
  (program) => program && spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0,
)
