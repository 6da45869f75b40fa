/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Loads an object, prints what became of it and some of its events.
 *
 *	events OBJECT NUMBER [MEMBER=VALUE]...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lcc_loader.h"

struct heard {
	lcc_session *session;
	unsigned long left;
};

static void on_event(void *data, const char *stream, const uint8_t *event, size_t len)
{
	struct heard *heard = data;
	const char *json;

	if (!heard->left)
		return;
	heard->left--;
	if (!lcc_session_event_json(heard->session, stream, event, len, &json))
		printf("%s %s\n", stream, json);
}

static void on_line(void *data, const char *line)
{
	fprintf(data, "log: %s\n", line);
}

static int fail(const lcc_error *error)
{
	fprintf(stderr, "error %d: %s\n", (int)error->code, error->message);
	return 2;
}

static int run(lcc_loader *loader, unsigned long number)
{
	struct heard heard = { .left = number };
	lcc_session *session;
	uint64_t lost = 0;
	int result = 0;

	if (lcc_loader_load(loader, &session))
		return fail(lcc_loader_error(loader));
	printf("%s", lcc_session_plan_text(session));
	heard.session = session;
	result = lcc_session_listen(session, on_event, &heard);
	while (!result && heard.left)
		result = lcc_session_poll(session, 1000, NULL);
	if (result)
		result = fail(lcc_session_error(session));
	else if (!lcc_session_lost(session, "switches", &lost))
		printf("lost %lu\n", (unsigned long)lost);
	lcc_session_free(session);
	return result;
}

int main(int argc, char **argv)
{
	lcc_loader *loader = lcc_loader_new();
	int result, at;

	if (argc < 3) {
		fprintf(stderr, "usage: %s OBJECT NUMBER [MEMBER=VALUE]...\n", argv[0]);
		lcc_loader_free(loader);
		return 2;
	}
	lcc_loader_log(loader, on_line, stderr);
	result = lcc_loader_object_file(loader, argv[1]);
	for (at = 3; at < argc && !result; at++) {
		char *value = strchr(argv[at], '=');

		if (value)
			*value++ = 0;
		result = lcc_loader_set(loader, argv[at], value);
	}
	result = result ? fail(lcc_loader_error(loader)) : run(loader, strtoul(argv[2], NULL, 10));
	lcc_loader_free(loader);
	return result;
}
