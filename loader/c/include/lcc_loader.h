/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * liblcc_loader: loads what of a BPF object works on the running kernel, and explains the rest.
 *
 *	lcc_loader *loader = lcc_loader_new();
 *	lcc_session *session;
 *
 *	if (lcc_loader_object_file(loader, "agent.o") || lcc_loader_load(loader, &session))
 *		fprintf(stderr, "%s\n", lcc_loader_error(loader)->message);
 *
 * An instance is used by one thread at a time. Instances know nothing of each other: each has its own log and its own last
 * error. Strings and data are copied, unless it says otherwise; paths and all other strings are UTF-8 and end with zero.
 *
 * Made by cbindgen of the crate lcc-loader-c; not to be edited.
 */

#ifndef LCC_LOADER_H
#define LCC_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * What a call came to. Numbers do not change between versions; new ones come at the end.
 */
typedef enum {
  /**
   * It was done.
   */
  LCC_OK = 0,
  /**
   * An argument is null, or no UTF-8, or not understood.
   */
  LCC_ERROR_ARGUMENT = 1,
  /**
   * A file cannot be read.
   */
  LCC_ERROR_FILE = 2,
  /**
   * The BPF object cannot be read.
   */
  LCC_ERROR_OBJECT = 3,
  /**
   * The BTF that was asked for cannot be read, or is not for this object.
   */
  LCC_ERROR_BTF = 4,
  /**
   * The configuration is none of this object's.
   */
  LCC_ERROR_CONFIGURATION = 5,
  /**
   * The process lacks capabilities: run it as root, or with those that the message names.
   */
  LCC_ERROR_CAPABILITIES = 6,
  /**
   * The kernel is locked down.
   */
  LCC_ERROR_LOCKDOWN = 7,
  /**
   * RLIMIT_MEMLOCK is too small, and cannot be raised (kernels before 5.11).
   */
  LCC_ERROR_MEMORY_LIMIT = 8,
  /**
   * A seccomp filter, a security module or the machine's owner forbids it.
   */
  LCC_ERROR_POLICY = 9,
  /**
   * The kernel does not have it.
   */
  LCC_ERROR_NOT_SUPPORTED = 10,
  /**
   * The kernel refuses it for another reason.
   */
  LCC_ERROR_REFUSED = 11,
  /**
   * What is pinned cannot be read, or it cannot be pinned.
   */
  LCC_ERROR_PINS = 12,
  /**
   * There is no such map, program or stream.
   */
  LCC_ERROR_ABSENT = 13,
  /**
   * Events cannot be read.
   */
  LCC_ERROR_EVENTS = 14,
  /**
   * A mistake of this library's; the message says where.
   */
  LCC_ERROR_INTERNAL = 15,
} lcc_code;

/**
 * An object to be loaded, and all that is decided about it beforehand. Opaque.
 */
typedef struct lcc_loader lcc_loader;

/**
 * What is loaded, for as long as it is not freed. Opaque.
 */
typedef struct lcc_session lcc_session;

/**
 * The last error of an instance.
 */
typedef struct {
  /**
   * What kind it is; LCC_OK where there was none.
   */
  lcc_code code;
  /**
   * A line for people. Never null.
   */
  const char *message;
  /**
   * The plan as JSON, where one was made; else null.
   */
  const char *plan;
} lcc_error;

/**
 * Takes a line of an instance's log.
 */
typedef void (*lcc_log)(void *data, const char *line);

/**
 * Says where in a file a function begins: 1 where it is found, with its offset from the begin of the file; 0 where the file
 * does not have it; -1 where it is not known, and the file's symbol tables are to be asked.
 */
typedef int32_t (*lcc_resolver)(void *data, const char *file, const char *function, uint64_t *offset);

/**
 * Hears an event: the stream's name, and the event's bytes, which are valid until it returns. From a perf buffer there may be
 * up to seven bytes more than the struct has.
 */
typedef void (*lcc_event)(void *data, const char *stream, const uint8_t *event, size_t len);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * What would be loaded, and why, as JSON; nothing is. The string is the instance's, and valid until the next call with it.
 */
lcc_code lcc_loader_plan(lcc_loader *loader,
                         const char **json);

/**
 * As lcc_loader_plan(), as text for people.
 */
lcc_code lcc_loader_plan_text(lcc_loader *loader, const char **lines);

/**
 * Loads what works of the object, and attaches it. That some program does not work is no error: see lcc_session_plan(). Free
 * the session with lcc_session_free(). Where it fails, `session` is set to null.
 */
lcc_code lcc_loader_load(lcc_loader *loader,
                         lcc_session **session);

/**
 * Makes an instance. Free it with lcc_loader_free().
 */
lcc_loader *lcc_loader_new(void);

/**
 * Frees an instance; not the sessions that were made with it. Null is of no account.
 */
void lcc_loader_free(lcc_loader *loader);

/**
 * The last error of an instance: of the call before this one. It is the instance's, and valid until the next call with it.
 */
const lcc_error *lcc_loader_error(const lcc_loader *loader);

/**
 * The object, from a file. It is read now.
 */
lcc_code lcc_loader_object_file(lcc_loader *loader, const char *path);

/**
 * The object, from memory, which is copied. The name is what plans and errors call it.
 */
lcc_code lcc_loader_object_bytes(lcc_loader *loader, const char *name, const uint8_t *data, size_t len);

/**
 * The BTF to relocate against; it is taken, or loading fails. Without it: that of LCC_BTF, else the kernel's own, else that of
 * packs and folders.
 */
lcc_code lcc_loader_btf(lcc_loader *loader,
                        const char *path);

/**
 * A pack of BTF for kernels that have none, from memory, which is copied: an agent can have one in itself. Can be called
 * several times.
 */
lcc_code lcc_loader_pack_bytes(lcc_loader *loader,
                               const char *name,
                               const uint8_t *data,
                               size_t len);

/**
 * As lcc_loader_pack_bytes(), from a file, which is read now.
 */
lcc_code lcc_loader_pack_file(lcc_loader *loader, const char *path);

/**
 * A folder in BTFHub's layout. Can be called several times.
 */
lcc_code lcc_loader_btf_folder(lcc_loader *loader, const char *path);

/**
 * Whether BTF of a near release of the same distribution may serve where there is none of this one.
 */
lcc_code lcc_loader_near(lcc_loader *loader, bool near);

/**
 * The configuration: the bytes of LCC_CONFIG's struct, or its first; the rest is zero.
 */
lcc_code lcc_loader_config(lcc_loader *loader, const uint8_t *data, size_t len);

/**
 * One member of the configuration, as text: "threshold_us", "100"; "ports[0].first", "80".
 */
lcc_code lcc_loader_set(lcc_loader *loader, const char *member, const char *value);

/**
 * Entries of a map, or bytes of a ring buffer, in place of the object's.
 */
lcc_code lcc_loader_map_entries(lcc_loader *loader, const char *map, uint32_t entries);

/**
 * The control group for programs that are attached to one; without it the root of the unified hierarchy.
 */
lcc_code lcc_loader_cgroup(lcc_loader *loader, const char *path);

/**
 * The process whose calls uprobes see; without it all.
 */
lcc_code lcc_loader_pid(lcc_loader *loader, uint32_t pid);

/**
 * A folder in a BPF file system where everything is pinned, to stay when the session is freed and to be found by the next.
 */
lcc_code lcc_loader_pins(lcc_loader *loader,
                         const char *path);

/**
 * What a program is attached to, in place of what its section names behind the slash: a function, "sched/sched_switch",
 * "/usr/bin/app:main".
 */
lcc_code lcc_loader_target(lcc_loader *loader,
                           const char *program,
                           const char *target);

/**
 * A program that is loaded, and attached by the caller; see lcc_session_program_fd().
 */
lcc_code lcc_loader_attached_by_caller(lcc_loader *loader, const char *program);

/**
 * What a program is to the object, as a tag of lcc.bpf.h says it ("lcc:optional", "lcc:one:receive:2", "lcc:all:pair"), in
 * place of the object's own tags. Several are given as one string, with spaces.
 */
lcc_code lcc_loader_choice(lcc_loader *loader,
                           const char *program,
                           const char *tags);

/**
 * Who is told how the loading goes, a line at a time; of this instance only. The pointer `data` is given back as it is, on the
 * thread that calls lcc_loader_load().
 */
lcc_code lcc_loader_log(lcc_loader *loader,
                        lcc_log log,
                        void *data);

/**
 * Who knows where functions of user programs begin; without it the files' own symbol tables.
 */
lcc_code lcc_loader_resolver(lcc_loader *loader, lcc_resolver resolver, void *data);

/**
 * The version of this library, "0.1.0". It is a constant of the library's.
 */
const char *lcc_version(void);

/**
 * Detaches and frees. What is pinned stays. Null is of no account.
 */
void lcc_session_free(lcc_session *session);

/**
 * Detaches everything, also what is pinned. The session is still to be freed.
 */
lcc_code lcc_session_unload(lcc_session *session);

/**
 * The last error of a session: of the call before this one. It is the session's, and valid until the next call with it.
 */
const lcc_error *lcc_session_error(const lcc_session *session);

/**
 * What was decided, and why, as JSON. It is the session's, and valid until it is freed.
 */
const char *lcc_session_plan(const lcc_session *session);

/**
 * As lcc_session_plan(), as text for people.
 */
const char *lcc_session_plan_text(const lcc_session *session);

/**
 * What the verifier said of a program that it refused. It is the session's, and valid until the next call with it.
 * LCC_ERROR_ABSENT where it refused no such program.
 */
lcc_code lcc_session_verifier_log(lcc_session *session,
                                  const char *program,
                                  const char **log);

/**
 * A map's descriptor. It is the session's: it is closed with it.
 */
lcc_code lcc_session_map_fd(lcc_session *session, const char *map, int *fd);

/**
 * A program's descriptor. It is the session's: it is closed with it. LCC_ERROR_ABSENT where it was not loaded, or was found
 * pinned.
 */
lcc_code lcc_session_program_fd(lcc_session *session,
                                const char *program,
                                int *fd);

/**
 * Hears all streams of events from now on, in place of who did before. The function is called by lcc_session_poll(), on its
 * thread; it may not free the session, nor call lcc_session_poll() or lcc_session_listen() with it.
 */
lcc_code lcc_session_listen(lcc_session *session,
                            lcc_event event,
                            void *data);

/**
 * Waits so many milliseconds for events (-1: for ever), has all that are there heard, and gives how many they were; 0 also
 * where a signal came. `heard` may be null.
 */
lcc_code lcc_session_poll(lcc_session *session,
                          int milliseconds,
                          uint64_t *heard);

/**
 * How many events of a stream were lost since it was loaded: sent, and not heard because the buffer was full, or nobody
 * listened.
 */
lcc_code lcc_session_lost(lcc_session *session,
                          const char *stream,
                          uint64_t *lost);

/**
 * An event as JSON, by the types in the object. It is the session's, and valid until the next call with it. This one may be
 * called from within an lcc_event.
 */
lcc_code lcc_session_event_json(lcc_session *session,
                                const char *stream,
                                const uint8_t *event,
                                size_t len,
                                const char **json);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LCC_LOADER_H */
