/** The program `iotflow`: every command, one file each. */
import type { Command } from 'commander'
import { version } from '../lib/version.ts'
import { newProgram } from '../scripts/command.ts'
import { addAcknowledgeAlert } from './alert/ack.ts'
import { addListAlerts } from './alert/list.ts'
import { addNoteAlert } from './alert/note.ts'
import { addCreateAlertRule } from './alert/rule-create.ts'
import { addDeleteAlertRule } from './alert/rule-delete.ts'
import { addDisableAlertRule, addEnableAlertRule } from './alert/rule-enable.ts'
import { addListAlertRules } from './alert/rule-list.ts'
import { addShowAlertRule } from './alert/rule-show.ts'
import { addUpdateAlertRule } from './alert/rule-update.ts'
import { addShowAlert } from './alert/show.ts'
import { addWatchAlerts } from './alert/watch.ts'
import { addBackup } from './backup.ts'
import { addCancelCommand } from './command/cancel.ts'
import { addCancelFleetCommand } from './command/fleet-cancel.ts'
import { addListFleetCommands } from './command/fleet-list.ts'
import { addSendFleetCommand } from './command/fleet-send.ts'
import { addShowFleetCommand } from './command/fleet-show.ts'
import { addListCommands } from './command/list.ts'
import { addSendCommand } from './command/send.ts'
import { addShowCommand } from './command/show.ts'
import { addGlobalOptions } from './context.ts'
import { addDashboard } from './dashboard.ts'
import { addDiscardDeadLetter } from './dead-letters/discard.ts'
import { addListDeadLetters } from './dead-letters/list.ts'
import { addReplayDeadLetter } from './dead-letters/replay.ts'
import { addShowDeadLetter } from './dead-letters/show.ts'
import { addCreateDevice } from './device/create.ts'
import { addDeleteDevice } from './device/delete.ts'
import { addEditDevice } from './device/edit.ts'
import { addExportDevices } from './device/export.ts'
import { addImportDevices } from './device/import.ts'
import { addLabelDevice } from './device/label.ts'
import { addListDevices } from './device/list.ts'
import { addRevokeKey } from './device/revoke-key.ts'
import { addRotateKey } from './device/rotate-key.ts'
import { addSetStatus } from './device/set-status.ts'
import { addShowDevice } from './device/show.ts'
import { addDoctor } from './doctor/doctor.ts'
import { addCreateEnrollmentKey } from './enrollment-key/create.ts'
import { addListEnrollmentKeys } from './enrollment-key/list.ts'
import { addRevokeEnrollmentKey } from './enrollment-key/revoke.ts'
import { addLogs } from './logs.ts'
import { addPublishMqtt } from './mqtt/publish.ts'
import { addSyncMqtt } from './mqtt/sync.ts'
import { addWatchMqtt } from './mqtt/watch.ts'
import { addReset } from './reset.ts'
import { addRestore } from './restore.ts'
import { addShell } from './shell.ts'
import { addStatus } from './status.ts'
import { addAggregateTelemetry } from './telemetry/aggregate.ts'
import { addCopyTelemetry } from './telemetry/copy.ts'
import { addDeleteTelemetry } from './telemetry/delete.ts'
import { addExportTelemetry } from './telemetry/export.ts'
import { addFleetTelemetry } from './telemetry/fleet.ts'
import { addImportTelemetry } from './telemetry/import.ts'
import { addLatestTelemetry } from './telemetry/latest.ts'
import { addQueryTelemetry } from './telemetry/query.ts'
import { addRotateToken } from './token.ts'
import { addCreateWebhook } from './webhook/create.ts'
import { addDeleteWebhook } from './webhook/delete.ts'
import { addListWebhookDeliveries } from './webhook/deliveries.ts'
import { addShowWebhookDelivery } from './webhook/delivery.ts'
import { addDisableWebhook, addEnableWebhook } from './webhook/enable.ts'
import { addListWebhooks } from './webhook/list.ts'
import { addRetryWebhookDelivery } from './webhook/retry.ts'
import { addRotateWebhookSecret } from './webhook/rotate-secret.ts'
import { addShowWebhook } from './webhook/show.ts'
import { addTestWebhook } from './webhook/test.ts'
import { addUpdateWebhook } from './webhook/update.ts'

const about = `Commands talk to the server that runs on DATA_DIR, or to another one with --url and an admin token. The token is read from
ADMIN_TOKEN, from --token-file, or from DATA_DIR.

Exit codes: 0 done; 1 failed; 2 wrong argument; 3 no server answers; 4 there is no such thing.

Examples:
  iotflow status
  iotflow device create greenhouse-1 --type temperature
  iotflow --url https://iot.example.com --token-file token device list --json`

/** Adds commands to a group, which is made here: `iotflow device`. */
const group = (
  program: Command,
  name: string,
  description: string,
  adds: readonly ((to: Command) => void)[],
) => {
  const commands = program.command(name).description(description).helpCommand(false)
  for (const add of adds) add(commands)
}

export function iotflowProgram(): Command {
  const program = newProgram('iotflow')
    .description('Manages IoTFlow: devices, telemetry, backups, and the server itself.')
    .usage('[options] <command>')
    .version(version, '-V, --version', 'prints the version')
    .addHelpText('after', `\n${about}`)
  addGlobalOptions(program)
  addStatus(program)
  addDashboard(program)
  group(program, 'device', 'registers, shows and changes devices', [
    addCreateDevice,
    addListDevices,
    addShowDevice,
    addEditDevice,
    addLabelDevice,
    addRotateKey,
    addRevokeKey,
    addSetStatus,
    addDeleteDevice,
    addImportDevices,
    addExportDevices,
  ])
  group(program, 'enrollment-key', 'keys with which devices register themselves', [
    addCreateEnrollmentKey,
    addListEnrollmentKeys,
    addRevokeEnrollmentKey,
  ])
  group(program, 'command', 'tells devices what to do, one or many', [
    addSendCommand,
    addListCommands,
    addShowCommand,
    addCancelCommand,
    addSendFleetCommand,
    addListFleetCommands,
    addShowFleetCommand,
    addCancelFleetCommand,
  ])
  group(program, 'alert', 'rules about readings and devices, and the alerts that they open', [
    addListAlerts,
    addShowAlert,
    addAcknowledgeAlert,
    addNoteAlert,
    addWatchAlerts,
    addListAlertRules,
    addShowAlertRule,
    addCreateAlertRule,
    addUpdateAlertRule,
    addEnableAlertRule,
    addDisableAlertRule,
    addDeleteAlertRule,
  ])
  group(program, 'webhook', 'addresses that are told of alerts, devices and commands', [
    addListWebhooks,
    addShowWebhook,
    addCreateWebhook,
    addUpdateWebhook,
    addEnableWebhook,
    addDisableWebhook,
    addRotateWebhookSecret,
    addTestWebhook,
    addDeleteWebhook,
    addListWebhookDeliveries,
    addShowWebhookDelivery,
    addRetryWebhookDelivery,
  ])
  group(program, 'telemetry', 'reads, exports and deletes readings', [
    addQueryTelemetry,
    addLatestTelemetry,
    addAggregateTelemetry,
    addFleetTelemetry,
    addExportTelemetry,
    addImportTelemetry,
    addCopyTelemetry,
    addDeleteTelemetry,
  ])
  group(program, 'dead-letters', 'messages that could not be stored', [
    addListDeadLetters,
    addShowDeadLetter,
    addReplayDeadLetter,
    addDiscardDeadLetter,
  ])
  group(program, 'token', 'the admin token', [addRotateToken])
  group(program, 'mqtt', 'the broker', [addWatchMqtt, addPublishMqtt, addSyncMqtt])
  addLogs(program)
  addShell(program)
  addBackup(program)
  addRestore(program)
  addDoctor(program)
  addReset(program)
  return program
}
