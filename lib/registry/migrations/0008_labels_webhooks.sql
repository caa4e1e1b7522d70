CREATE TABLE `device_labels` (
	`device_id` integer NOT NULL,
	`key` text NOT NULL,
	`value` text NOT NULL,
	PRIMARY KEY(`device_id`, `key`),
	FOREIGN KEY (`device_id`) REFERENCES `devices`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `device_labels_key_value` ON `device_labels` (`key`,`value`,`device_id`);--> statement-breakpoint
CREATE TABLE `webhook_attempts` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`delivery_id` integer NOT NULL,
	`at` integer NOT NULL,
	`duration_ms` integer NOT NULL,
	`status_code` integer,
	`error` text,
	`answer` text,
	FOREIGN KEY (`delivery_id`) REFERENCES `webhook_deliveries`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `webhook_attempts_delivery` ON `webhook_attempts` (`delivery_id`,`id`);--> statement-breakpoint
CREATE TABLE `webhook_deliveries` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`webhook_id` integer NOT NULL,
	`event_seq` integer NOT NULL,
	`device_id` integer,
	`status` text DEFAULT 'pending' NOT NULL,
	`attempts` integer DEFAULT 0 NOT NULL,
	`created_at` integer NOT NULL,
	`next_attempt_at` integer NOT NULL,
	`finished_at` integer,
	`busy_until` integer,
	FOREIGN KEY (`webhook_id`) REFERENCES `webhooks`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`event_seq`) REFERENCES `webhook_events`(`seq`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `webhook_deliveries_webhook` ON `webhook_deliveries` (`webhook_id`,`id`);--> statement-breakpoint
CREATE INDEX `webhook_deliveries_pending` ON `webhook_deliveries` (`webhook_id`,`device_id`,`id`) WHERE "webhook_deliveries"."finished_at" is null;--> statement-breakpoint
CREATE INDEX `webhook_deliveries_finished` ON `webhook_deliveries` (`finished_at`) WHERE "webhook_deliveries"."finished_at" is not null;--> statement-breakpoint
CREATE INDEX `webhook_deliveries_event` ON `webhook_deliveries` (`event_seq`);--> statement-breakpoint
CREATE TABLE `webhook_events` (
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`event_id` text NOT NULL,
	`type` text NOT NULL,
	`device_id` integer,
	`at` integer NOT NULL,
	`data` text NOT NULL,
	`only_webhook_id` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `webhook_events_event_id_unique` ON `webhook_events` (`event_id`);--> statement-breakpoint
CREATE INDEX `webhook_events_at` ON `webhook_events` (`at`);--> statement-breakpoint
CREATE TABLE `webhooks` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`name` text NOT NULL,
	`url` text NOT NULL,
	`events` text NOT NULL,
	`enabled` integer DEFAULT true NOT NULL,
	`disabled_reason` text,
	`secret_version` integer DEFAULT 1 NOT NULL,
	`previous_secret_until` integer,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`failures` integer DEFAULT 0 NOT NULL,
	`paused_until` integer
);
--> statement-breakpoint
ALTER TABLE `devices` ADD `labels` text;--> statement-breakpoint
CREATE TRIGGER `device_labels_inserted` AFTER INSERT ON `devices` WHEN new.`labels` IS NOT NULL BEGIN
	INSERT INTO `device_labels` (`device_id`, `key`, `value`) SELECT new.`id`, `key`, `value` FROM json_each(new.`labels`);
END;
--> statement-breakpoint
CREATE TRIGGER `device_labels_updated` AFTER UPDATE OF `labels` ON `devices` WHEN new.`labels` IS NOT old.`labels` BEGIN
	DELETE FROM `device_labels` WHERE `device_id` = new.`id`;
	INSERT INTO `device_labels` (`device_id`, `key`, `value`) SELECT new.`id`, `key`, `value` FROM json_each(new.`labels`);
END;
