/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The builtins of CO-RE, without any header of the system. */
#ifndef TEST_CORE_H
#define TEST_CORE_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define RELOCATABLE __attribute__((preserve_access_index))
#define ALWAYS_INLINE inline __attribute__((always_inline))

#define BYTE_OFFSET(access) __builtin_preserve_field_info(access, 0)
#define BYTE_SIZE(access) __builtin_preserve_field_info(access, 1)
#define FIELD_EXISTS(access) __builtin_preserve_field_info(access, 2)
#define IS_SIGNED(access) __builtin_preserve_field_info(access, 3)
#define LSHIFT(access) __builtin_preserve_field_info(access, 4)
#define RSHIFT(access) __builtin_preserve_field_info(access, 5)
#define TYPE_ID_LOCAL(type) __builtin_btf_type_id(*(type *)0, 0)
#define TYPE_ID_TARGET(type) __builtin_btf_type_id(*(type *)0, 1)
#define TYPE_EXISTS(type) __builtin_preserve_type_info(*(type *)0, 0)
#define TYPE_SIZE(type) __builtin_preserve_type_info(*(type *)0, 1)
/* The tests turn this into the relocation "matches" for types whose flavour is ___matches. */
#define TYPE_MATCHES(type) __builtin_preserve_type_info(*(type *)0, 0)
#define ENUM_EXISTS(type, value) __builtin_preserve_enum_value(*(type *)value, 0)
#define ENUM_VALUE(type, value) __builtin_preserve_enum_value(*(type *)value, 1)

static long (*const probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;

/* Where results go, so that none is optimised away. */
volatile u64 sink;
#define USE(value) (sink = (u64)(value))

#endif
