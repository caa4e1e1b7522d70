CREATE INDEX `webhook_deliveries_due` ON `webhook_deliveries` (`webhook_id`,`next_attempt_at`,`id`) WHERE "webhook_deliveries"."finished_at" is null;--> statement-breakpoint
CREATE INDEX `webhook_deliveries_old` ON `webhook_deliveries` (`created_at`) WHERE "webhook_deliveries"."finished_at" is null;--> statement-breakpoint
CREATE INDEX `webhook_deliveries_busy` ON `webhook_deliveries` (`webhook_id`,`busy_until`) WHERE "webhook_deliveries"."busy_until" is not null;--> statement-breakpoint
CREATE TABLE `webhook_outbox` (
	`seq` integer PRIMARY KEY NOT NULL,
	`type` text NOT NULL,
	`ref` integer NOT NULL,
	`device_id` integer NOT NULL,
	`at` integer NOT NULL,
	`data` text
);
--> statement-breakpoint
-- These two are compiled into each statement that could fire them, also while there are no webhooks: they are short for that.
CREATE TRIGGER `webhook_outbox_of_event` AFTER INSERT ON `events` WHEN EXISTS (SELECT 1 FROM `webhooks` WHERE `enabled` = 1) BEGIN
	INSERT INTO `webhook_outbox` VALUES (NULL, 'device.' || new.`kind`, new.`id`, new.`device_id`, new.`at`, new.`detail`);
END;
--> statement-breakpoint
CREATE TRIGGER `webhook_outbox_of_command` AFTER UPDATE OF `status` ON `commands` WHEN new.`status` <> old.`status`
	AND EXISTS (SELECT 1 FROM `webhooks` WHERE `enabled` = 1) BEGIN
	INSERT INTO `webhook_outbox` VALUES (NULL, 'command.' || new.`status`, new.`id`, new.`device_id`,
		coalesce(new.`finished_at`, new.`acknowledged_at`, new.`last_sent_at`, new.`issued_at`), new.`result`);
END;
--> statement-breakpoint
CREATE VIEW `webhook_outbox_events` AS
	SELECT * FROM (
		SELECT `o`.`seq`, 'event-' || `o`.`ref` AS `event_id`, `o`.`type`, `o`.`device_id`, `o`.`at`,
			json_object('device_id', `o`.`device_id`, 'device_name', `devices`.`name`, 'device_type', `devices`.`device_type`,
				'detail', json(`o`.`data`)) AS `data`
		FROM `webhook_outbox` AS `o` JOIN `devices` ON `devices`.`id` = `o`.`device_id`
		WHERE `o`.`type` IN ('device.registered', 'device.online', 'device.offline')
		UNION ALL
		SELECT `o`.`seq`, 'command-' || `o`.`ref` || '-' || substr(`o`.`type`, 9), `o`.`type`, `o`.`device_id`, `o`.`at`,
			json_object('device_id', `o`.`device_id`, 'device_name', `devices`.`name`, 'device_type', `devices`.`device_type`,
				'command_id', `commands`.`command_id`, 'command', `commands`.`command`, 'status', substr(`o`.`type`, 9),
				'fleet_command_id', `commands`.`fleet_command_id`, 'result', json(`o`.`data`))
		FROM `webhook_outbox` AS `o` JOIN `devices` ON `devices`.`id` = `o`.`device_id`
			JOIN `commands` ON `commands`.`id` = `o`.`ref`
		WHERE `o`.`type` IN ('command.sent', 'command.acknowledged', 'command.succeeded', 'command.failed', 'command.expired',
			'command.cancelled')
	) AS `told`
	WHERE EXISTS (SELECT 1 FROM `webhooks` WHERE `webhooks`.`enabled` = 1
		AND (instr(`webhooks`.`events`, '"*"') OR instr(`webhooks`.`events`, '"' || `told`.`type` || '"')
			OR instr(`webhooks`.`events`, '"' || substr(`told`.`type`, 1, instr(`told`.`type`, '.')) || '*"')));
--> statement-breakpoint
CREATE TRIGGER `webhook_deliveries_of_event` AFTER INSERT ON `webhook_events` BEGIN
	INSERT INTO `webhook_deliveries` (`webhook_id`, `event_seq`, `device_id`, `created_at`, `next_attempt_at`)
	SELECT `webhooks`.`id`, new.`seq`, new.`device_id`, new.`at`,
		CASE WHEN new.`only_webhook_id` IS NULL AND EXISTS (SELECT 1 FROM `webhook_deliveries` AS `before`
			WHERE `before`.`webhook_id` = `webhooks`.`id` AND `before`.`device_id` IS new.`device_id` AND `before`.`finished_at` IS NULL)
		THEN 9007199254740991 ELSE 0 END
	FROM `webhooks`
	WHERE `webhooks`.`id` = new.`only_webhook_id`
		OR new.`only_webhook_id` IS NULL AND `webhooks`.`enabled` = 1
			AND (instr(`webhooks`.`events`, '"*"') OR instr(`webhooks`.`events`, '"' || new.`type` || '"')
				OR instr(`webhooks`.`events`, '"' || substr(new.`type`, 1, instr(new.`type`, '.')) || '*"'));
END;
