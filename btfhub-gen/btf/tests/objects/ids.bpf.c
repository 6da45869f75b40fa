// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Ids of types in the target. Two definitions of one name have two ids: libbpf then refuses the object. */
#include "core.h"

struct task_struct {
	int pid;
};

struct sock {
	int x;
};

struct bpf_map {
	int x;
};

struct no_such_struct {
	int x;
};

typedef int pid_t;

SEC("raw_tp/ids")
int ids(void *ctx)
{
	USE(TYPE_ID_TARGET(struct bpf_map));
	USE(TYPE_ID_TARGET(struct no_such_struct));
	USE(TYPE_ID_TARGET(pid_t));
	USE(TYPE_ID_TARGET(struct sock));
	USE(TYPE_ID_TARGET(struct task_struct));
	return 0;
}
