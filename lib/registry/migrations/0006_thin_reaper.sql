CREATE TABLE `field_names` (
	`device_id` integer NOT NULL,
	`name` text NOT NULL,
	`type` text NOT NULL,
	`first_seen` integer NOT NULL,
	`last_seen` integer NOT NULL,
	PRIMARY KEY(`device_id`, `name`, `type`)
);
