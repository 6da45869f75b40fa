/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Loads an object whose uprobes are on functions that a database knows, with both libraries.
 *
 *	probe DATABASE OBJECT
 */
#include <stdio.h>

#include "lcc_loader.h"
#include "lcc_offsets.h"

int main(int argc, char **argv)
{
	lcc_offsets *offsets = lcc_offsets_new();
	lcc_loader *loader = lcc_loader_new();
	lcc_session *session = NULL;
	int result = 2;

	if (argc != 3)
		fprintf(stderr, "usage: %s DATABASE OBJECT\n", argv[0]);
	else if (lcc_offsets_database(offsets, argv[1]))
		fprintf(stderr, "%s\n", lcc_offsets_explanation(offsets));
	else if (lcc_loader_resolver(loader, lcc_offsets_resolver, offsets) ||
		 lcc_loader_object_file(loader, argv[2]) || lcc_loader_load(loader, &session))
		fprintf(stderr, "%s\n", lcc_loader_error(loader)->message);
	else
		result = 0;
	if (session)
		printf("%s", lcc_session_plan_text(session));
	lcc_session_free(session);
	lcc_loader_free(loader);
	lcc_offsets_free(offsets);
	return result;
}
