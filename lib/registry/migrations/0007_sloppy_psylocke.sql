CREATE TABLE `command_subscriptions` (
	`device_id` integer NOT NULL,
	`client_id` text NOT NULL,
	`channel` text NOT NULL,
	`session_id` text NOT NULL,
	`since` integer NOT NULL,
	PRIMARY KEY(`device_id`, `client_id`, `channel`),
	FOREIGN KEY (`device_id`) REFERENCES `devices`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `commands` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`command_id` text NOT NULL,
	`device_id` integer NOT NULL,
	`fleet_command_id` text,
	`command` text NOT NULL,
	`params` text,
	`channel` text,
	`status` text DEFAULT 'queued' NOT NULL,
	`issued_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`max_attempts` integer DEFAULT 1 NOT NULL,
	`attempts` integer DEFAULT 0 NOT NULL,
	`sent_at` integer,
	`last_sent_at` integer,
	`acknowledged_at` integer,
	`finished_at` integer,
	`result` text,
	`sessions` text,
	`receipt` text,
	`busy_until` integer,
	`retry_at` integer,
	FOREIGN KEY (`device_id`) REFERENCES `devices`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `commands_command_id_unique` ON `commands` (`command_id`);--> statement-breakpoint
CREATE INDEX `commands_device` ON `commands` (`device_id`,`id`);--> statement-breakpoint
CREATE UNIQUE INDEX `commands_fleet` ON `commands` (`fleet_command_id`,`device_id`) WHERE "commands"."fleet_command_id" is not null;--> statement-breakpoint
CREATE INDEX `commands_fleet_progress` ON `commands` (`fleet_command_id`,`status`,`finished_at`,`expires_at`,`sent_at`) WHERE "commands"."fleet_command_id" is not null;--> statement-breakpoint
CREATE INDEX `commands_unfinished` ON `commands` (`device_id`,`id`) WHERE "commands"."finished_at" is null;--> statement-breakpoint
CREATE INDEX `commands_expiry` ON `commands` (`expires_at`) WHERE "commands"."finished_at" is null;--> statement-breakpoint
CREATE INDEX `commands_finished` ON `commands` (`finished_at`) WHERE "commands"."finished_at" is not null;--> statement-breakpoint
CREATE INDEX `commands_retry` ON `commands` (`retry_at`) WHERE "commands"."retry_at" is not null;--> statement-breakpoint
CREATE TABLE `enrollment_keys` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`name` text NOT NULL,
	`key_hash` text NOT NULL,
	`key_prefix` text NOT NULL,
	`device_type` text,
	`max_devices` integer,
	`used` integer DEFAULT 0 NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer,
	`last_used_at` integer,
	`revoked_at` integer,
	CONSTRAINT "enrollment_keys_used" CHECK("enrollment_keys"."used" <= coalesce("enrollment_keys"."max_devices", "enrollment_keys"."used"))
);
--> statement-breakpoint
CREATE UNIQUE INDEX `enrollment_keys_key_hash_unique` ON `enrollment_keys` (`key_hash`);--> statement-breakpoint
CREATE TABLE `fleet_commands` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`fleet_command_id` text NOT NULL,
	`command` text NOT NULL,
	`params` text,
	`channel` text,
	`max_attempts` integer NOT NULL,
	`filter` text NOT NULL,
	`rate_per_s` real,
	`canaries` integer DEFAULT 0 NOT NULL,
	`canary_wait_s` integer,
	`canary_until` integer,
	`failed_share` real,
	`min_results` integer NOT NULL,
	`status` text NOT NULL,
	`reason` text,
	`targets` integer DEFAULT 0 NOT NULL,
	`released` integer DEFAULT 0 NOT NULL,
	`paid_until` integer NOT NULL,
	`issued_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`finished_at` integer,
	`progress` text
);
--> statement-breakpoint
CREATE UNIQUE INDEX `fleet_commands_fleet_command_id_unique` ON `fleet_commands` (`fleet_command_id`);--> statement-breakpoint
CREATE INDEX `fleet_commands_open` ON `fleet_commands` (`id`) WHERE "fleet_commands"."finished_at" is null;--> statement-breakpoint
CREATE INDEX `fleet_commands_closed` ON `fleet_commands` (`finished_at`) WHERE "fleet_commands"."finished_at" is not null;--> statement-breakpoint
CREATE TABLE `fleet_configuration_targets` (
	`fleet_configuration_id` integer NOT NULL,
	`device_id` integer NOT NULL,
	`version` integer,
	PRIMARY KEY(`fleet_configuration_id`, `device_id`),
	FOREIGN KEY (`fleet_configuration_id`) REFERENCES `fleet_configurations`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`device_id`) REFERENCES `devices`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `fleet_configuration_targets_device` ON `fleet_configuration_targets` (`device_id`);--> statement-breakpoint
CREATE INDEX `fleet_configuration_targets_waiting` ON `fleet_configuration_targets` (`fleet_configuration_id`,`device_id`) WHERE "fleet_configuration_targets"."version" is null;--> statement-breakpoint
CREATE TABLE `fleet_configurations` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`filter` text NOT NULL,
	`changes` text NOT NULL,
	`targets` integer NOT NULL,
	`created_at` integer NOT NULL,
	`applied_at` integer
);
--> statement-breakpoint
CREATE TABLE `fleet_targets` (
	`fleet_id` integer NOT NULL,
	`position` integer NOT NULL,
	`device_id` integer NOT NULL,
	PRIMARY KEY(`fleet_id`, `position`),
	FOREIGN KEY (`fleet_id`) REFERENCES `fleet_commands`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
ALTER TABLE `configurations` ADD `published_version` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX `configurations_unpublished` ON `configurations` (`device_id`) WHERE "configurations"."published_version" < "configurations"."version";--> statement-breakpoint
ALTER TABLE `credentials` ADD `lifetime_s` integer;--> statement-breakpoint
ALTER TABLE `credentials` ADD `warned_at` integer;--> statement-breakpoint
ALTER TABLE `credentials` ADD `ended_at` integer;--> statement-breakpoint
CREATE INDEX `credentials_expiring` ON `credentials` (`expires_at`) WHERE "credentials"."expires_at" is not null and "credentials"."ended_at" is null and "credentials"."revoked_at" is null;--> statement-breakpoint
ALTER TABLE `devices` ADD `presence` text;--> statement-breakpoint
ALTER TABLE `devices` ADD `presence_events` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX `devices_status_type` ON `devices` (`status`,`device_type`);--> statement-breakpoint
CREATE INDEX `events_presence_at` ON `events` (`at`) WHERE "events"."kind" in ('online', 'offline');