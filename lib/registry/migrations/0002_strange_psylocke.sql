CREATE TABLE `leases` (
	`name` text PRIMARY KEY NOT NULL,
	`holder` text NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `mqtt_accounts` (
	`device_id` integer PRIMARY KEY NOT NULL,
	`key_hash` text NOT NULL,
	`enabled` integer NOT NULL
);
