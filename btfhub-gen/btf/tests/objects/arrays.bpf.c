// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Elements of arrays: of one and more dimensions, without length, beyond the end, of structures and in structures. */
#include "core.h"

struct list_head {
	struct list_head *next;
} RELOCATABLE;

struct task_struct {
	char comm[64];
	int pid;
} RELOCATABLE;

struct free_area {
	struct list_head free_list[6];
	unsigned long nr_free;
} RELOCATABLE;

struct zone {
	long lowmem_reserve[16];
	struct free_area free_area[11];
	unsigned long _watermark[3];
} RELOCATABLE;

struct pglist_data {
	struct zone node_zones[5];
	int nr_zones;
} RELOCATABLE;

struct mm_rss_stat {
	struct {
		s64 counter;
	} count[4];
} RELOCATABLE;

struct mm_struct {
	struct mm_rss_stat rss_stat;
	unsigned long saved_auxv[60];
} RELOCATABLE;

struct lruvec {
	struct list_head lists[5];
	struct {
		unsigned long nr_pages[4][2][5];
	} lrugen;
} RELOCATABLE;

struct linux_dirent64 {
	u64 d_ino;
	char d_name[];
} RELOCATABLE;

struct fdtable {
	unsigned long max_fds;
} RELOCATABLE;

struct upid {
	int nr;
} RELOCATABLE;

struct pid {
	int level;
	struct upid numbers[1];
} RELOCATABLE;

#define BOTH(access)                                                                                                   \
	do {                                                                                                           \
		USE(BYTE_OFFSET(access));                                                                              \
		USE(BYTE_SIZE(access));                                                                                \
		USE(FIELD_EXISTS(access));                                                                             \
	} while (0)

SEC("raw_tp/arrays")
int arrays(void *ctx)
{
	struct task_struct *task = 0;
	struct zone *zone = 0;
	struct pglist_data *node = 0;
	struct mm_struct *mm = 0;
	struct linux_dirent64 *entry = 0;
	struct lruvec *lru = 0;
	struct pid *pid = 0;

	BOTH(task->comm[0]);
	BOTH(task->comm[15]);
	BOTH(task->comm[16]);
	BOTH(task[3].pid);
	BOTH(task[2].comm[5]);
	BOTH(zone->lowmem_reserve[2]);
	BOTH(zone->free_area[10].nr_free);
	BOTH(zone->free_area[2].free_list[1].next);
	BOTH(zone->free_area[2].free_list[1]);
	BOTH(zone->_watermark[2]);
	BOTH(node->node_zones[1].free_area[3].nr_free);
	BOTH(mm->rss_stat.count[2].counter);
	BOTH(mm->saved_auxv[40]);
	BOTH(mm->saved_auxv[59]);
	BOTH(lru->lists[3]);
	BOTH(lru->lrugen.nr_pages[1][1][2]);
	BOTH(lru->lrugen.nr_pages[1][1]);
	BOTH(lru->lrugen.nr_pages[1]);
	BOTH(lru->lrugen.nr_pages);
	BOTH(entry->d_name[0]);
	BOTH(entry->d_name[200]);
	BOTH(pid->numbers[0].nr);
	return 0;
}
