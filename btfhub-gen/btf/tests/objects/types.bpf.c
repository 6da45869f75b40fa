// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Every question that can be asked of a type: structures, unions, enumerations, typedefs of all of these. */
#include "core.h"

#define ALL(type)                                                                                                      \
	do {                                                                                                           \
		USE(TYPE_ID_LOCAL(type));                                                                              \
		USE(TYPE_EXISTS(type));                                                                                \
		USE(TYPE_SIZE(type));                                                                                  \
	} while (0)

struct task_struct {
	int pid;
};

struct list_head {
	struct list_head *next, *prev;
};

union ktime {
	s64 tv64;
};

union thread_union {
	int x;
};

enum pid_type {
	PIDTYPE_PID,
};

/* A structure in every kernel, a union in none. */
union sk_buff {
	int x;
};

struct no_such_struct {
	int x;
};

enum no_such_enum {
	NO_SUCH_VALUE,
};

typedef int pid_t;
typedef s64 ktime_t;
typedef struct list_head *no_such_typedef;

typedef struct {
	int counter;
} atomic_t;

typedef struct refcount_struct {
	atomic_t refs;
} refcount_t;

typedef int (*filldir_t)(void *, const char *, int, s64, u64, unsigned);
typedef int (*initcall_t)(void);
typedef void (*ctor_fn_t)(void);
typedef u8 uuid_be[16];
typedef u64 sector_t;

/* A typedef of the kernel that is something else there. */
typedef int (*gfp_t)(int);
typedef struct list_head *dev_t;

SEC("raw_tp/types")
int types(void *ctx)
{
	ALL(struct task_struct);
	ALL(struct list_head);
	ALL(union ktime);
	ALL(union thread_union);
	ALL(enum pid_type);
	ALL(union sk_buff);
	ALL(struct no_such_struct);
	ALL(enum no_such_enum);
	ALL(pid_t);
	ALL(ktime_t);
	ALL(no_such_typedef);
	ALL(atomic_t);
	ALL(refcount_t);
	ALL(filldir_t);
	ALL(initcall_t);
	ALL(ctor_fn_t);
	ALL(uuid_be);
	ALL(sector_t);
	ALL(gfp_t);
	ALL(dev_t);
	return 0;
}

/* Matching. The kernel's list_head has these members, task_struct some of them. */
struct list_head___matches {
	struct list_head *next, *prev;
};

struct list_head___one___matches {
	struct list_head *prev;
};

struct list_head___other___matches {
	struct list_head *next;
	int prev;
};

struct hlist_node___matches {
	struct hlist_node *next, **pprev;
};

struct task_struct___matches {
	int exit_code;
	struct task_struct *real_parent;
	struct list_head tasks;
	char comm[16];
};

struct task_struct___long___matches {
	char comm[17];
};

struct path___matches {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct no_such_struct___matches {
	int x;
};

enum pid_type___matches {
	PIDTYPE_PID___matches,
	PIDTYPE_SID___matches,
};

enum pid_type___more___matches {
	PIDTYPE_NONE___matches,
};

typedef struct {
	int counter;
} atomic_t___matches;

typedef struct {
	long counter;
} atomic_t___long___matches;

struct file;

struct file_operations___matches {
	s64 (*llseek)(struct file *, s64, int);
};

SEC("raw_tp/matches")
int matches(void *ctx)
{
	USE(TYPE_MATCHES(struct list_head___matches));
	USE(TYPE_MATCHES(struct list_head___one___matches));
	USE(TYPE_MATCHES(struct list_head___other___matches));
	USE(TYPE_MATCHES(struct hlist_node___matches));
	USE(TYPE_MATCHES(struct task_struct___matches));
	USE(TYPE_MATCHES(struct task_struct___long___matches));
	USE(TYPE_MATCHES(struct path___matches));
	USE(TYPE_MATCHES(struct no_such_struct___matches));
	USE(TYPE_MATCHES(enum pid_type___matches));
	USE(TYPE_MATCHES(enum pid_type___more___matches));
	USE(TYPE_MATCHES(atomic_t___matches));
	USE(TYPE_MATCHES(atomic_t___long___matches));
	USE(TYPE_MATCHES(struct file_operations___matches));
	return 0;
}
