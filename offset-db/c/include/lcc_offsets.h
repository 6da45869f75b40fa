/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * liblcc_offsets: where functions begin in user libraries, stripped ones included, and where fields are in their structs.
 *
 *	lcc_offsets *offsets = lcc_offsets_new();
 *	uint64_t offset;
 *
 *	if (lcc_offsets_database(offsets, "/usr/share/lcc/offsets.sqlite"))
 *		fprintf(stderr, "%s\n", lcc_offsets_explanation(offsets));
 *	if (!lcc_offsets_function(offsets, "/opt/app/cygrpc.so", "SSL_write", &offset))
 *		printf("%#llx: %s\n", (unsigned long long)offset, lcc_offsets_explanation(offsets));
 *
 * An instance is used by one thread at a time; instances know nothing of each other. Strings are UTF-8 and end with zero.
 *
 * Made by cbindgen of the crate lcc-offsets-c; not to be edited.
 */

#ifndef LCC_OFFSETS_H
#define LCC_OFFSETS_H

#include <stdint.h>

/**
 * What a call came to. Numbers do not change between versions; new ones come at the end.
 */
typedef enum {
  /**
   * It was done, or found.
   */
  LCC_OFFSETS_OK = 0,
  /**
   * The file, or the struct, does not have it.
   */
  LCC_OFFSETS_ABSENT = 1,
  /**
   * It cannot be told: the file is not known, or there is one witness only.
   */
  LCC_OFFSETS_UNKNOWN = 2,
  /**
   * An argument is null, or no UTF-8.
   */
  LCC_OFFSETS_ERROR_ARGUMENT = 3,
  /**
   * The file cannot be read.
   */
  LCC_OFFSETS_ERROR_FILE = 4,
  /**
   * The database cannot be read, is damaged, another program's, or of a newer version.
   */
  LCC_OFFSETS_ERROR_DATABASE = 5,
  /**
   * A mistake of this library's; the explanation says where.
   */
  LCC_OFFSETS_ERROR_INTERNAL = 6,
} lcc_offsets_code;

/**
 * Who knows where functions and fields are. Opaque.
 */
typedef struct lcc_offsets lcc_offsets;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Makes an instance that asks files for their own symbols only. Free it with lcc_offsets_free().
 */
lcc_offsets *lcc_offsets_new(void);

/**
 * Frees an instance. Null is of no account.
 */
void lcc_offsets_free(lcc_offsets *offsets);

/**
 * The database that is asked from now on, where a file's own symbols do not tell. It is opened for reading.
 */
lcc_offsets_code lcc_offsets_database(lcc_offsets *offsets, const char *path);

/**
 * Where a function begins in a file, by its symbol or its name without parameters: bytes from the begin of the file, as a uprobe
 * wants it. It is written where the function was found only.
 */
lcc_offsets_code lcc_offsets_function(lcc_offsets *offsets,
                                      const char *file,
                                      const char *function,
                                      uint64_t *offset);

/**
 * Where a field is in its struct, "grpc_chttp2_stream.read_closed", in the build that a file is: bits from the struct's begin, and
 * its bits. By the database; a file's debug information is not read. `size` may be null. They are written where the field was found
 * only.
 */
lcc_offsets_code lcc_offsets_field(lcc_offsets *offsets,
                                   const char *file,
                                   const char *field,
                                   uint64_t *offset,
                                   uint64_t *size);

/**
 * How what the last call found is known, or why it found nothing. It is the instance's, and valid until the next call with it. Never
 * null, unless the instance is.
 */
const char *lcc_offsets_explanation(const lcc_offsets *offsets);

/**
 * An instance as liblcc_loader's resolver: lcc_loader_resolver(loader, lcc_offsets_resolver, offsets). 1 where the function is
 * found, 0 where the file does not have it, -1 where it is not known.
 */
int32_t lcc_offsets_resolver(void *offsets,
                             const char *file,
                             const char *function,
                             uint64_t *offset);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LCC_OFFSETS_H */
