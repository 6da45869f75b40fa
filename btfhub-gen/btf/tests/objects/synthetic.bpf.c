// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Questions to types that are made up by the test: several of one name, arrays without length, and the like. */
#include "core.h"

/* Two definitions in the target: "same" at the same place in both, "other" not. */
struct twice {
	int same;
	int other;
} RELOCATABLE;

/* Two definitions: one without "second", and with "first" elsewhere. */
struct partial {
	int first;
	int second;
} RELOCATABLE;

/* Not the last member in the target. */
struct inner_flexible {
	int before;
	char tail[];
} RELOCATABLE;

struct flexible {
	char before;
	char tail[];
} RELOCATABLE;

struct pointers {
	void *pointer;
	void *array[3];
	int after;
} RELOCATABLE;

enum wide {
	WIDE_LOW = 1,
	WIDE_HIGH = 2,
};

/* A union here, a structure there. */
struct mixed {
	union {
		int x;
	} part;
	int after;
} RELOCATABLE;

struct holder {
	struct shadowed {
		int wanted;
	} inner;
} RELOCATABLE;

struct only_in_module {
	int there;
} RELOCATABLE;

/* The same type in three shapes, of which a flavour of the target's has one. */
struct shapes {
	int member;
} RELOCATABLE;

struct shapes___array {
	int member[4];
} RELOCATABLE;

struct shapes___nested {
	struct {
		int deep;
	} member;
} RELOCATABLE;

struct bits {
	unsigned a : 3;
	unsigned b : 7;
	int c : 5;
	unsigned long long d : 40;
} RELOCATABLE;

#define ANY(access)                                                                                                    \
	do {                                                                                                           \
		USE(BYTE_OFFSET(access));                                                                              \
		USE(BYTE_SIZE(access));                                                                                \
		USE(FIELD_EXISTS(access));                                                                             \
	} while (0)

#define ALL(access)                                                                                                    \
	do {                                                                                                           \
		ANY(access);                                                                                           \
		USE(IS_SIGNED(access));                                                                                \
		USE(LSHIFT(access));                                                                                   \
		USE(RSHIFT(access));                                                                                   \
	} while (0)

#define AT(type) ((struct type *)0)

SEC("raw_tp/agree")
int agree(void *ctx)
{
	ANY(AT(twice)->same);
	return 0;
}

SEC("raw_tp/ambiguous")
int ambiguous(void *ctx)
{
	ANY(AT(twice)->same);
	ANY(AT(twice)->other);
	return 0;
}

SEC("raw_tp/pruned")
int pruned(void *ctx)
{
	ANY(AT(partial)->second);
	ANY(AT(partial)->first);
	return 0;
}

SEC("raw_tp/unpruned")
int unpruned(void *ctx)
{
	ANY(AT(partial)->first);
	ANY(AT(partial)->second);
	return 0;
}

SEC("raw_tp/inner")
int inner_flexible(void *ctx)
{
	ANY(AT(inner_flexible)->before);
	USE(BYTE_OFFSET(AT(inner_flexible)->tail));
	ANY(AT(inner_flexible)->tail[5]);
	return 0;
}

SEC("raw_tp/flexible")
int flexible(void *ctx)
{
	ANY(AT(flexible)->tail[5]);
	return 0;
}

SEC("raw_tp/pointers")
int pointers(struct pointers *pointers)
{
	ANY(AT(pointers)->pointer);
	ANY(AT(pointers)->array[1]);
	ANY(AT(pointers)->array);
	ANY(AT(pointers)[2].after);
	return (long)pointers->pointer + (long)pointers->array[2];
}

SEC("raw_tp/wide")
int wide(void *ctx)
{
	USE(ENUM_VALUE(enum wide, WIDE_LOW));
	USE(ENUM_VALUE(enum wide, WIDE_HIGH));
	return 0;
}

SEC("raw_tp/mixed")
int mixed(void *ctx)
{
	ANY(AT(mixed)->part);
	ANY(AT(mixed)->part.x);
	ANY(AT(mixed)->after);
	return 0;
}

SEC("raw_tp/shapes")
int shapes(void *ctx)
{
	ANY(AT(shapes)->member);
	ANY(AT(shapes___array)->member[2]);
	ANY(AT(shapes___nested)->member.deep);
	return 0;
}

SEC("raw_tp/bits")
int bits(void *ctx)
{
	ALL(AT(bits)->a);
	ALL(AT(bits)->b);
	ALL(AT(bits)->c);
	return 0;
}

SEC("raw_tp/bits_too_wide")
int bits_too_wide(void *ctx)
{
	ALL(AT(bits)->d);
	return 0;
}

SEC("raw_tp/module")
int module(void *ctx)
{
	ANY(AT(holder)->inner.wanted);
	ANY(AT(shadowed)->wanted);
	ANY(AT(only_in_module)->there);
	return 0;
}
