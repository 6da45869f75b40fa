/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Tells where functions and fields (STRUCT.FIELD) are.
 *
 *	offsets DATABASE FILE NAME...
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lcc_offsets.h"

static int tell(lcc_offsets *offsets, const char *file, const char *name)
{
	uint64_t offset = 0, size = 0;
	lcc_offsets_code code;

	code = lcc_offsets_function(offsets, file, name, &offset);
	if (code == LCC_OFFSETS_OK) {
		printf("%s: 0x%" PRIx64 ": %s\n", name, offset, lcc_offsets_explanation(offsets));
		return 0;
	}
	if (strchr(name, '.')) {
		code = lcc_offsets_field(offsets, file, name, &offset, &size);
		if (code == LCC_OFFSETS_OK) {
			printf("%s: byte %" PRIu64 ", %" PRIu64 " bytes: %s\n", name, offset / 8, size / 8,
			       lcc_offsets_explanation(offsets));
			return 0;
		}
	}
	fprintf(stderr, "%s: error %d: %s\n", name, (int)code, lcc_offsets_explanation(offsets));
	return code < LCC_OFFSETS_ERROR_ARGUMENT ? 1 : 2;
}

int main(int argc, char **argv)
{
	lcc_offsets *offsets = lcc_offsets_new();
	int result = 0, at;

	if (argc < 4) {
		fprintf(stderr, "usage: %s DATABASE FILE NAME...\n", argv[0]);
		result = 2;
	} else if (lcc_offsets_database(offsets, argv[1])) {
		fprintf(stderr, "%s\n", lcc_offsets_explanation(offsets));
		result = 2;
	}
	for (at = 3; at < argc && result < 2; at++) {
		int one = tell(offsets, argv[2], argv[at]);

		if (one > result)
			result = one;
	}
	lcc_offsets_free(offsets);
	return result;
}
