ALTER TABLE `events` ADD `key` text;--> statement-breakpoint
ALTER TABLE `events` ADD `count` integer DEFAULT 1 NOT NULL;--> statement-breakpoint
ALTER TABLE `events` ADD `last_at` integer;--> statement-breakpoint
CREATE UNIQUE INDEX `events_repeated` ON `events` (`device_id`,`kind`,`key`) WHERE "events"."key" is not null;--> statement-breakpoint
CREATE INDEX `events_repeated_at` ON `events` (`at`) WHERE "events"."key" is not null;