CREATE TABLE `device_counts` (
	`status` text NOT NULL,
	`device_type` text NOT NULL,
	`count` integer NOT NULL,
	PRIMARY KEY(`status`, `device_type`)
);
--> statement-breakpoint
INSERT INTO `device_counts` SELECT `status`, `device_type`, count(*) FROM `devices` GROUP BY `status`, `device_type`;--> statement-breakpoint
CREATE TRIGGER `device_counts_inserted` AFTER INSERT ON `devices` BEGIN
	INSERT INTO `device_counts` VALUES (new.`status`, new.`device_type`, 1) ON CONFLICT DO UPDATE SET `count` = `count` + 1;
END;
--> statement-breakpoint
CREATE TRIGGER `device_counts_deleted` AFTER DELETE ON `devices` BEGIN
	UPDATE `device_counts` SET `count` = `count` - 1 WHERE `status` = old.`status` AND `device_type` = old.`device_type`;
	DELETE FROM `device_counts` WHERE `status` = old.`status` AND `device_type` = old.`device_type` AND `count` <= 0;
END;
--> statement-breakpoint
CREATE TRIGGER `device_counts_updated` AFTER UPDATE OF `status`, `device_type` ON `devices`
WHEN new.`status` <> old.`status` OR new.`device_type` <> old.`device_type` BEGIN
	UPDATE `device_counts` SET `count` = `count` - 1 WHERE `status` = old.`status` AND `device_type` = old.`device_type`;
	DELETE FROM `device_counts` WHERE `status` = old.`status` AND `device_type` = old.`device_type` AND `count` <= 0;
	INSERT INTO `device_counts` VALUES (new.`status`, new.`device_type`, 1) ON CONFLICT DO UPDATE SET `count` = `count` + 1;
END;
--> statement-breakpoint
-- What a search compares, by every three characters in a row. It keeps no texts: to take a row out, they have to be given again.
CREATE VIRTUAL TABLE `device_texts` USING fts5(`name`, `location`, `description`, content='', columnsize=0, tokenize='trigram');--> statement-breakpoint
-- Devices with this id and above are in the index. Those below follow page by page, since one transaction for all would take too long.
CREATE TABLE `device_texts_begin` (`id` integer NOT NULL);--> statement-breakpoint
INSERT INTO `device_texts_begin` SELECT coalesce(max(`id`) + 1, 0) FROM `devices`;--> statement-breakpoint
CREATE TRIGGER `device_texts_inserted` AFTER INSERT ON `devices` BEGIN
	INSERT INTO `device_texts` (`rowid`, `name`, `location`, `description`) VALUES (new.`id`, coalesce(new.`name_folded`, lower(new.`name`)), coalesce(new.`location_folded`, lower(new.`location`)), coalesce(new.`description_folded`, lower(new.`description`)));
END;
--> statement-breakpoint
CREATE TRIGGER `device_texts_deleted` AFTER DELETE ON `devices`
WHEN old.`id` >= (SELECT `id` FROM `device_texts_begin`) BEGIN
	INSERT INTO `device_texts` (`device_texts`, `rowid`, `name`, `location`, `description`) VALUES ('delete', old.`id`, coalesce(old.`name_folded`, lower(old.`name`)), coalesce(old.`location_folded`, lower(old.`location`)), coalesce(old.`description_folded`, lower(old.`description`)));
END;
--> statement-breakpoint
CREATE TRIGGER `device_texts_updated` AFTER UPDATE OF `name`, `location`, `description`, `name_folded`, `location_folded`, `description_folded` ON `devices`
WHEN old.`id` >= (SELECT `id` FROM `device_texts_begin`) BEGIN
	INSERT INTO `device_texts` (`device_texts`, `rowid`, `name`, `location`, `description`) VALUES ('delete', old.`id`, coalesce(old.`name_folded`, lower(old.`name`)), coalesce(old.`location_folded`, lower(old.`location`)), coalesce(old.`description_folded`, lower(old.`description`)));
	INSERT INTO `device_texts` (`rowid`, `name`, `location`, `description`) VALUES (new.`id`, coalesce(new.`name_folded`, lower(new.`name`)), coalesce(new.`location_folded`, lower(new.`location`)), coalesce(new.`description_folded`, lower(new.`description`)));
END;
