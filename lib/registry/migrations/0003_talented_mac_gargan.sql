CREATE TABLE `deleted_devices` (
	`id` integer PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`name_folded` text NOT NULL,
	`device_type` text NOT NULL,
	`deleted_at` integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE `devices` ADD `timezone` text;--> statement-breakpoint
ALTER TABLE `devices` ADD `name_folded` text;--> statement-breakpoint
ALTER TABLE `devices` ADD `location_folded` text;--> statement-breakpoint
ALTER TABLE `devices` ADD `description_folded` text;